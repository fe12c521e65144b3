/** Claims against the emulator over a real socket: what EMX2 is asked, and which jobs are taken for which profile. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { addJob } from "../../../src/emulator/submitter.ts";
import { never, openPollStage, type PollStage, profileOf } from "./poll-stage.ts";

let stage: PollStage;
beforeEach(async () => {
  stage = await openPollStage();
});
afterEach(() => stage.server.stop());

/** A PENDING job for `processor/profile`, or for a processor alone. */
function pending(key: string, submitUser?: string | null): string {
  const [processor = "", profile = null] = key.split("/");
  const id = addJob(stage.server.state, { processor, profile });
  if (submitUser !== undefined) Object.assign(stage.server.state.jobs.get(id) ?? {}, { submitUser });
  return id;
}

const profilesOf = (...keys: string[]) => keys.map((key) => profileOf(key));
const takenIds = () => stage.taken().map(({ id }) => id);
const takenKeys = () => stage.taken().map(({ key }) => key);

/** An entry of EMX2's list. */
/** EMX2's ids are UUIDs. */
const idOf = (name: string) => `00000000-0000-4000-8000-${(Bun.hash.crc32(name) >>> 0).toString(16).padStart(12, "0")}`;
const entry = (name: string, createdAt: string | null, profile = "a") => ({
  ...{ id: idOf(name), processor: "p", profile, status: "PENDING", created_at: createdAt },
});

/** EMX2's list is this, in this order, whatever is asked for but the page. */
function listing(items: readonly { readonly profile: string }[]): void {
  stage.around = (target) => {
    if (!target.startsWith("GET /jobs?")) return undefined;
    const query = new URLSearchParams(target.split("?")[1]);
    const asked = items.filter(({ profile }) => (query.get("profile") ?? profile) === profile);
    const offset = Number(query.get("offset"));
    const page = asked.slice(offset, offset + Number(query.get("limit")));
    return Response.json({ items: page, count: page.length, total_count: asked.length });
  };
}

describe("the lists", () => {
  test("are not hidden by thousands of other processors' jobs, and cost one request a processor", async () => {
    for (let count = 0; count < 6_000; count++) pending("other/default");
    const mine = ["p/default", "q/default", "p/small"].map((key) => pending(key));
    await stage.poll(profilesOf("p/default", "p/small", "q/default")).tick(never);
    expect(takenIds().sort()).toEqual(mine.sort());
    expect(stage.lists()).toHaveLength(2);
    for (const { event } of stage.seen) expect(JSON.stringify(event)).not.toContain("parametersText");
  });

  test("of a processor whose backlog is not read whole are completed by profile", async () => {
    for (let count = 0; count < 700; count++) pending("p/theirs");
    const mine = pending("p/ours");
    await stage.poll(profilesOf("p/ours")).tick(never);
    expect(takenIds()).toEqual([mine]);
    expect(stage.lists()).toHaveLength(2);
  });

  test("of profiles without room are not asked for", async () => {
    for (const key of ["p/a", "q/a"]) pending(key);
    stage.claimable = { "p/a": "none" };
    await stage.poll(profilesOf("p/a", "q/a"), { perProfile: { "q/a": 0 } }).tick(never);
    expect(stage.lists()).toEqual([]);
  });

  test("of more than ten processors are one list, and it is said once that it is cut", async () => {
    for (let count = 0; count < 5_001; count++) pending("other/default");
    const poll = stage.poll(Array.from({ length: 11 }, (_, index) => profileOf(`p${index}`)));
    for (let look = 0; look < 2; look++) await poll.tick(never);
    expect(stage.lists()).toHaveLength(20);
    expect(stage.lists().some((request) => request.includes("processor="))).toBe(false);
    expect(stage.said("EMX2 has more jobs waiting than are looked at")).toBe(1);
  });

  test("that EMX2 can not give do not stop the others", async () => {
    const mine = pending("q/default");
    const failure = { title: "Internal Server Error", status: 500, detail: "enrichment failed" };
    stage.around = (target) => (target.includes("processor=p&") ? Response.json(failure, { status: 500 }) : undefined);
    const poll = stage.poll(profilesOf("p/default", "q/default"));
    for (let look = 0; look < 2; look++) await poll.tick(never);
    expect(takenIds()).toEqual([mine]);
    expect(stage.said("EMX2 can not list the jobs of a profile")).toBe(2);
    expect(poll.reachable).toBe(true);
  });

  test("in no order are read whole, and the oldest are taken", async () => {
    const at = (index: number) => `2026-11-22 15:10:${String(index % 60).padStart(2, "0")}.${1_000 + index}`;
    const all = Array.from({ length: 900 }, (_, index) => entry(`j${index}`, at((index * 7) % 900)));
    listing(all);
    await stage.poll(profilesOf("p/a"), { maxConcurrentJobs: 5 }).tick(never);
    const oldest = all.toSorted((a, b) => ((a.created_at ?? "") < (b.created_at ?? "") ? -1 : 1)).slice(0, 5);
    expect(takenIds()).toEqual(oldest.map(({ id }) => id));
    expect(stage.lists()).toHaveLength(3);
  });

  test("tell age in two shapes, and a job without one comes last", async () => {
    listing([
      entry("none", null),
      entry("third", "2026-11-22T15:10:37.7"),
      entry("second", "2026-11-22 15:10:37.671583"),
      entry("first", "2026-11-22T15:10:37.67"),
      entry("none-too", null),
    ]);
    await stage.poll(profilesOf("p/a")).tick(never);
    expect(takenIds()).toEqual(["first", "second", "third", "none", "none-too"].map(idOf));
  });
});

describe("a job that names no profile", () => {
  test("goes to the one named default, wherever it stands, and to the next when that is full", async () => {
    for (let count = 0; count < 4; count++) pending("p");
    await stage.poll(profilesOf("p/large", "p/default"), { perProfile: { "p/default": 1, "p/large": 2 } }).tick(never);
    expect(takenKeys()).toEqual(["p/default", "p/large", "p/large"]);
  });

  test("goes to the first of the configuration where none is named default", async () => {
    pending("p");
    await stage.poll(profilesOf("q/default", "p/large", "p/small")).tick(never);
    expect(takenKeys()).toEqual(["p/large"]);
  });

  test("passes a held profile by, and tries it where there is no other", async () => {
    for (let count = 0; count < 2; count++) pending("p");
    stage.claimable = { "p/default": "one", "p/small": "all" };
    await stage.poll(profilesOf("p/default", "p/small"), { perProfile: { "p/small": 1 } }).tick(never);
    expect(takenKeys()).toEqual(["p/small"]);
    stage.claimable = { "p/default": "one", "p/small": "none" };
    await stage.poll(profilesOf("p/default", "p/small")).tick(never);
    expect(takenKeys()).toEqual(["p/small", "p/default"]);
  });

  test("of another processor is left alone", async () => {
    pending("q");
    await stage.poll(profilesOf("p/default")).tick(never);
    expect(takenKeys()).toEqual([]);
  });
});

describe("a held profile", () => {
  test("takes nothing, or the one job that tries it", async () => {
    for (let count = 0; count < 3; count++) pending("p/a");
    const other = pending("p/b");
    const poll = stage.poll(profilesOf("p/a", "p/b"));
    stage.claimable = { "p/a": "none" };
    await poll.tick(never);
    expect(takenIds()).toEqual([other]);
    stage.claimable = { "p/a": "one" };
    await poll.tick(never);
    expect(takenKeys()).toEqual(["p/b", "p/a"]);
  });
});

describe("submitters", () => {
  test("that a profile does not allow are left alone, which is said once for all their jobs", async () => {
    const profiles = [profileOf("p/a", { allowedSubmitters: ["jo", "lab-*"] })];
    const mine = ["jo", "lab-x"].map((user) => pending("p/a", user));
    for (const user of ["eve", "eve", null]) pending("p/a", user);
    const poll = stage.poll(profiles);
    for (let look = 0; look < 2; look++) await poll.tick(never);
    expect(takenIds()).toEqual(mine);
    expect(stage.said("eve for p/a")).toBe(1);
    expect(stage.said("nobody for p/a")).toBe(1);
  });

  test("without number are said in a few lines", async () => {
    for (let count = 0; count < 60; count++) pending("p/a", `user-${count}`);
    await stage.poll([profileOf("p/a", { allowedSubmitters: [] })]).tick(never);
    expect(stage.said("jobs are left alone")).toBe(20);
  });

  test("whose job names no profile find one that takes them", async () => {
    const profiles = [profileOf("p/default", { allowedSubmitters: ["jo"] }), profileOf("p/open")];
    pending("p", "eve");
    await stage.poll(profiles).tick(never);
    expect(takenKeys()).toEqual(["p/open"]);
  });
});

test("what is claimed no more is known, also where there is no slot, and is news when more than figures change", async () => {
  const poll = stage.poll(profilesOf("p/default"), { maxConcurrentJobs: 1 });
  stage.ours();
  const steps = [
    { blocked: "/scratch has 1.0 GiB free", shut: [], known: [{ cause: "/scratch has 1.0 GiB free" }], news: 1 },
    { blocked: "/scratch has 0.9 GiB free", shut: [], known: [{ cause: "/scratch has 0.9 GiB free" }], news: 1 },
    { blocked: undefined, shut: [["p/default", "full"]], known: [{ profile: "p/default", cause: "full" }], news: 2 },
    { blocked: undefined, shut: [], known: [], news: 3 },
  ] as const;
  for (const { blocked, shut, known, news } of steps) {
    Object.assign(stage, { blocked, shut });
    await poll.tick(never);
    expect({ known: poll.notClaiming, news: stage.news }).toEqual({ known: [...known], news });
  }
});

test("claims that are blocked, and jobs that can not be read, are said when that changes alone", async () => {
  const poll = stage.poll(profilesOf("p/default"));
  for (const reason of ["1.0 GiB free", "0.9 GiB free", undefined, "not mounted", "not mounted"]) {
    stage.blocked = reason;
    await poll.tick(never);
  }
  expect([stage.said("nothing new is claimed"), stage.said("new jobs are claimed again")]).toEqual([2, 1]);
  stage.blocked = undefined;
  const id = pending("p/default");
  const stored = stage.server.state.jobs.get(id);
  if (stored) stage.server.state.jobs.set(id, { ...stored, id: "../../etc" });
  for (let look = 0; look < 3; look++) await poll.tick(never);
  expect(stage.said("a job in EMX2's list can not be read")).toBe(1);
  stage.server.state.jobs.delete(id);
  expect(takenIds()).toEqual([]);
});

test("a job that has ended here, and that a restored EMX2 offers again, is left and told of once", async () => {
  const id = stage.ours();
  const job = stage.jobs.get(id);
  if (job) stage.jobs.set(id, { ...job, closed: { at: 1, status: "COMPLETED", why: "reported COMPLETED" } });
  Object.assign(stage.server.state.jobs.get(id) ?? {}, { status: "PENDING", workerId: null });
  const poll = stage.poll(profilesOf("p/default"));
  for (let look = 0; look < 2; look++) await poll.tick(never);
  expect(stage.said("EMX2 offers a job that has ended here")).toBe(1);
  expect(takenIds()).toEqual([]);
});
