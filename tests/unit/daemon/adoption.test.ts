/** Which jobs are looked at that EMX2 calls ours and nothing here knows, against the emulator over a real socket. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { createAdoption } from "../../../src/daemon/adoption.ts";
import { createHolders } from "../../../src/daemon/holder.ts";
import { addJob } from "../../../src/emulator/submitter.ts";
import type { JobStatus } from "../../../src/job/status.ts";
import { createLog } from "../../../src/log.ts";
import type { Scheduler } from "../../../src/scheduler/scheduler.ts";
import { createMemoryFiles } from "../../simulation/memory-files.ts";
import { state } from "../artifacts/work-directory.ts";
import { clientOf, hastyClock, secret } from "../emx2/raw-server.ts";
import { never, openPollStage, type PollStage, profileOf, workerId } from "./poll-stage.ts";

let stage: PollStage;
beforeEach(async () => {
  stage = await openPollStage();
});
afterEach(() => stage.server.stop());

function adoption(find: Scheduler["find"] = async () => ({ is: "absent" })) {
  const { server, jobs, lines } = stage;
  const clock = { ...hastyClock, mono: () => stage.aheadMs };
  const owner = { state, stateDir: "/state", host: "head", uid: 1 };
  return createAdoption({
    engine: { jobs, observe: (id, event) => void stage.seen.push({ id, event }) },
    client: clientOf(server, { clock, credential: { mode: "hmac", secret: () => secret } }),
    clock,
    log: createLog({ clock, level: "info", json: false, color: false, write: (line) => void lines.push(line) }),
    files: createMemoryFiles({ state }),
    owner,
    holders: createHolders(owner, async () => "absent"),
    worker: { workerId },
    profiles: [profileOf("p/default")],
    backend: "slurm",
    takeOver: false,
    schedulerOf: () => ({ find }),
    jobDir: (id) => `/jobs/${id}`,
    leftovers: async () => true,
  });
}

/** EMX2 calls it ours, and nothing here knows it. */
function unknown(status: JobStatus): string {
  const id = addJob(stage.server.state, { processor: "p", profile: "default" });
  Object.assign(stage.server.state.jobs.get(id) ?? {}, { status, workerId });
  return id;
}

test("a status that EMX2 fails to list keeps nobody from the others, and is looked at as soon as it can be", async () => {
  const [claimed, started] = [unknown("CLAIMED"), unknown("STARTED")];
  const it = adoption();
  stage.around = (target) => (target.includes("status=STARTED") ? new Response("broken", { status: 500 }) : undefined);
  await it.look(never);
  expect(stage.said(claimed)).toBe(1);
  expect(stage.said(started)).toBe(0);
  stage.around = () => undefined;
  stage.aheadMs += 60_000;
  await it.look(never);
  expect(stage.said(claimed)).toBe(1);
  expect(stage.said(started)).toBe(1);
});

test("a job that has ended here, and of which a restored EMX2 says otherwise, is told of once and left alone", async () => {
  const id = stage.ours();
  const it = adoption();
  await it.look(never);
  expect(stage.said(id)).toBe(0);
  const job = stage.jobs.get(id);
  if (job) stage.jobs.set(id, { ...job, closed: { at: 1, status: "COMPLETED", why: "reported COMPLETED" } });
  for (let hours = 1; hours <= 2; hours++) {
    stage.aheadMs += 3_600_000;
    await it.look(never);
  }
  expect(stage.said("it has ended here (reported COMPLETED): was EMX2 restored from a backup?")).toBe(1);
  expect(stage.seen).toEqual([]);
});

test("a Slurm that hangs holds up neither the poll nor those whose turn has not come", async () => {
  const ids = Array.from({ length: 20 }, () => unknown("CLAIMED"));
  const asked: string[] = [];
  const it = adoption(async ({ jobId }) => {
    asked.push(jobId);
    stage.aheadMs += 60_000;
    return { is: "unavailable", cause: "squeue gave no answer" };
  });
  await it.look(never);
  expect(asked).toHaveLength(16);
  stage.aheadMs += 60_000;
  await it.look(never);
  expect(new Set(asked)).toEqual(new Set(ids));
});

test("an EMX2 that can not be asked at all is for the poll to meet", async () => {
  stage.around = () => new Response("<h1>502", { status: 502 });
  await expect(adoption().look(never)).rejects.toThrow("502");
});
