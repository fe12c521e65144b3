/** Holds over a real journal, with a clock that is set by hand. */
import { beforeEach, describe, expect, test } from "bun:test";
import { type Clock, systemClock } from "../../../src/clock.ts";
import { createHolds, type Holds } from "../../../src/daemon/holds.ts";
import type { Job } from "../../../src/job/job.ts";
import { type Profile, profileDefaults } from "../../../src/job/profile.ts";
import { type Journal, openJournal } from "../../../src/journal/journal.ts";
import type { Log } from "../../../src/log.ts";
import { jobOf, refOf } from "../journal/records.ts";

const firstMs = 300_000;
const hourMs = 3_600_000;
const [gpu, cpu] = ["p/gpu", "p/cpu"];

let now: number;
let journal: Journal;
let jobs: Map<string, Job>;
let profiles: Profile[];
let said: string[];
let changes: string[];
const clock: Clock = { ...systemClock, wall: () => now };
const log: Log = {
  error: (message) => void said.push(`error ${message}`),
  warn: (message) => void said.push(`warn ${message}`),
  info: (message) => void said.push(`info ${message}`),
  debug: () => {},
  child: () => log,
};

beforeEach(() => {
  [now, jobs, said, changes] = [1_000_000, new Map(), [], []];
  profiles = [profileOf(gpu), profileOf(cpu)];
  journal = openJournal(":memory:", { clock });
});

function profileOf(key: string, over: Partial<Profile> = {}): Profile {
  const [processor = "", profile = ""] = key.split("/");
  return { key, processor, profile, workload: { kind: "host", entrypoint: "sh" }, ...profileDefaults, ...over };
}

function open(): Holds {
  return createHolds({ clock, journal, log, profiles, jobs: () => jobs, changed: (key) => void changes.push(key) });
}

/** The daemon ends and comes back with what was on disk. */
function reopened(): Holds {
  journal = openJournal(journal.serialize(), { clock });
  return open();
}

function written(id: string, profileKey = gpu): Job {
  const ours = { claim: { stage: "ours", at: now }, run: { stage: "written", ref: refOf(id) } } as const;
  const job: Job = { ...jobOf(id), profileKey, backend: "slurm", ...ours };
  jobs.set(id, job);
  return job;
}

function submitting(job: Job): Job {
  const next: Job = { ...job, run: { stage: "submitting", ref: refOf(job.id), intentAt: now, doubt: false } };
  jobs.set(job.id, next);
  return next;
}

function hold(holds: Holds, job: Job): void {
  for (let count = 0; count < 3; count++) holds.refused(job, "Invalid account");
}

describe("a hold", () => {
  test("begins with the third refusal in a row, over all jobs of the profile, and is said once", () => {
    const holds = open();
    const [a, b] = [written("a"), written("b")];
    for (const job of [a, b]) holds.refused(job, "no");
    expect(holds.heldOf(a)).toBeUndefined();
    expect(holds.claimable(gpu, "slurm")).toBe("all");
    expect(changes).toEqual([]);
    holds.refused(b, "Invalid account");
    expect(holds.heldOf(a)).toEqual({
      ...{ since: now, cause: "Invalid account", probe: false, nextProbeAt: now + firstMs },
    });
    expect(holds.claimable(gpu, "slurm")).toBe("none");
    holds.refused(a, "Invalid account");
    expect(said.map((line) => line.split(" ")[0])).toEqual(["error"]);
    expect(changes).toEqual([gpu, gpu]);
  });

  test("does not begin where one of them was taken in between", () => {
    const holds = open();
    const job = written("a");
    for (let count = 0; count < 4; count++) {
      holds.refused(job, "no");
      holds.refused(job, "no");
      holds.taken(job);
    }
    expect(holds.list()).toEqual([]);
    expect(said).toEqual([]);
  });

  test("is of one profile and one backend alone", () => {
    const holds = open();
    hold(holds, written("a"));
    expect(holds.heldOf(written("b", cpu))).toBeUndefined();
    expect(holds.heldOf({ ...written("c"), backend: "shell" })).toBeUndefined();
    expect([holds.claimable(cpu, "slurm"), holds.claimable(gpu, "shell")]).toEqual(["all", "all"]);
    expect(holds.list().map(({ profileKey, backend, count }) => [profileKey, backend, count])).toEqual([
      [gpu, "slurm", 3],
    ]);
  });

  test("ends with the first submission that is taken, and counting begins anew", () => {
    const holds = open();
    const job = written("a");
    hold(holds, job);
    holds.taken(job);
    expect(holds.heldOf(job)).toBeUndefined();
    expect(said.at(-1)).toStartWith("info");
    expect(changes).toEqual([gpu, gpu]);
    holds.refused(job, "no");
    expect(holds.heldOf(job)).toBeUndefined();
  });
});

describe("images that can not be started", () => {
  const three = (holds: Holds) => {
    for (const id of ["a", "b", "c"]) {
      holds.unstarted(written(id), "no user namespaces", now);
      jobs.delete(id);
    }
  };

  test("hold their profile after three jobs, one told twice counting once", () => {
    const holds = open();
    const a = written("a");
    for (let count = 0; count < 4; count++) holds.unstarted(a, "no user namespaces", now);
    expect(holds.heldOf(a)).toBeUndefined();
    three(holds);
    expect(holds.heldOf(a)).toMatchObject({ cause: "no user namespaces", nextProbeAt: now + firstMs });
    expect(said).toEqual([expect.stringMatching(/^error .*can not be started/)]);
    expect(reopened().heldOf(a)).toMatchObject({ cause: "no user namespaces" });
  });

  test("are forgotten where a workload has begun in between, and not where a submission was taken", () => {
    const holds = open();
    for (const id of ["a", "b", "c", "d"]) {
      holds.unstarted(written(id), "no", now);
      holds.begun(written("e"), now);
    }
    expect(holds.list()).toEqual([]);
    for (const id of ["a", "b", "c"]) {
      holds.taken(written(id));
      holds.unstarted(written(id), "no", now);
    }
    expect(holds.list()).toHaveLength(1);
  });

  test("are probed by one job at growing intervals, however long its workload takes to begin", () => {
    const holds = open();
    three(holds);
    const pauses: number[] = [];
    for (const id of ["d", "e", "f", "g", "h"]) {
      const { nextProbeAt = 0 } = holds.heldOf(written(id)) ?? {};
      pauses.push(nextProbeAt - now);
      now = nextProbeAt;
      expect(holds.heldOf(written(id))?.probe).toBe(id === "d");
      holds.taken(submitting(written("d")));
      expect(holds.claimable(gpu, "slurm")).toBe("none");
    }
    expect(pauses).toEqual([firstMs, 2 * firstMs, 4 * firstMs, 8 * firstMs, hourMs]);
    holds.unstarted(written("d"), "still no", now);
    expect(holds.heldOf(written("d"))).toMatchObject({ cause: "still no", probe: false });
  });

  test("end their hold with the first workload that begins", () => {
    const holds = open();
    three(holds);
    now += firstMs;
    holds.taken(written("d"));
    expect(holds.list()).toHaveLength(1);
    holds.begun(written("d"), now);
    expect(holds.list()).toEqual([]);
    expect(said.at(-1)).toMatch(/^info a workload has begun/);
  });

  test("are not forgotten for a workload that had begun before", () => {
    const holds = open();
    three(holds);
    holds.begun(written("old"), now - 1);
    expect(holds.list()).toHaveLength(1);
  });

  test("and refusals of Slurm's end by what ends the later of both", () => {
    const holds = open();
    three(holds);
    holds.refused(written("d"), "Invalid account");
    holds.begun(written("e"), now);
    expect(holds.list()).toHaveLength(1);
    holds.taken(written("d"));
    expect(holds.list()).toEqual([]);
  });
});

describe("probes", () => {
  const probing = (holds: Holds) => [...jobs.values()].filter((job) => holds.heldOf(job)?.probe).map(({ id }) => id);

  test("are one job, the oldest that is ready, when their time has come", () => {
    const holds = open();
    jobs.set("early", { ...jobOf("early"), profileKey: gpu, backend: "slurm" });
    const [a] = [written("a"), written("b")];
    hold(holds, a);
    expect(probing(holds)).toEqual([]);
    now += firstMs;
    expect(probing(holds)).toEqual(["a"]);
    const waiting = holds.heldOf(jobs.get("b") ?? a);
    expect(waiting?.nextProbeAt).toBeGreaterThan(now);
  });

  test("are not overtaken by an older job that is ready later", () => {
    const holds = open();
    const [a, b] = [written("a"), written("b")];
    jobs.set("a", { ...a, run: { stage: "none" } });
    hold(holds, b);
    now += firstMs;
    submitting(b);
    written("a");
    expect(probing(holds)).toEqual(["b"]);
  });

  test("pass to the next job where theirs has ended", () => {
    const holds = open();
    const [a] = [written("a"), written("b")];
    hold(holds, a);
    now += firstMs;
    jobs.set("a", { ...a, stop: { by: "server-cancelled", at: now, detail: "" } });
    expect(probing(holds)).toEqual(["b"]);
  });

  test("that are refused come at intervals that double up to an hour", () => {
    const holds = open();
    const job = written("a");
    hold(holds, job);
    const pauses = Array.from({ length: 6 }, () => {
      now = holds.heldOf(job)?.nextProbeAt ?? 0;
      holds.refused(job, "no");
      return (holds.heldOf(job)?.nextProbeAt ?? 0) - now;
    });
    expect(pauses).toEqual([2 * firstMs, 4 * firstMs, 8 * firstMs, hourMs, hourMs, hourMs]);
    expect(said).toHaveLength(1);
  });

  test("are not those that were under way when the hold began", () => {
    const holds = open();
    const job = written("a");
    hold(holds, job);
    now += 1_000;
    holds.refused(job, "no");
    expect(holds.heldOf(job)?.nextProbeAt).toBe(now + firstMs - 1_000);
  });

  test("are claimed for where no job is here that could be one", () => {
    const holds = open();
    const job = written("a");
    hold(holds, job);
    now += firstMs;
    expect(holds.claimable(gpu, "slurm")).toBe("none");
    jobs.set("a", { ...job, closed: { at: now, status: "FAILED", why: "held for too long" } });
    expect(holds.claimable(gpu, "slurm")).toBe("one");
    jobs.set("b", { ...jobOf("b"), profileKey: gpu, backend: "slurm" });
    expect(holds.claimable(gpu, "slurm")).toBe("none");
  });
});

describe("a restart", () => {
  test("neither forgets a hold nor moves its probe", () => {
    const job = written("a");
    const before = open();
    hold(before, job);
    const held = before.heldOf(job);
    now += 1_000;
    expect(reopened().heldOf(job)).toEqual(held);
    expect(said).toHaveLength(1);
  });

  test("goes on counting, so that a `once` from cron holds as well", () => {
    const job = written("a");
    for (let count = 0; count < 3; count++) reopened().refused(job, "no");
    expect(reopened().heldOf(job)?.since).toBe(now);
  });

  test("with the profile changed tries at once, and only once for each change", () => {
    const job = written("a");
    hold(open(), job);
    profiles = [profileOf(gpu, { account: "other" })];
    const holds = reopened();
    expect(holds.heldOf(job)?.probe).toBe(true);
    holds.refused(job, "no");
    expect(holds.heldOf(job)?.nextProbeAt).toBe(now + 2 * firstMs);
    expect(reopened().heldOf(job)?.probe).toBe(false);
  });

  test("with the profile changed begins to count anew where nothing was held", () => {
    const job = written("a");
    const before = open();
    for (let count = 0; count < 2; count++) before.refused(job, "no");
    profiles = [profileOf(gpu, { account: "other" })];
    const holds = reopened();
    holds.refused(job, "no");
    expect(holds.heldOf(job)).toBeUndefined();
  });

  test("forgets a profile that is gone", () => {
    hold(open(), written("a"));
    profiles = [];
    expect(reopened().list()).toEqual([]);
  });

  test("by a clock that is set back waits no longer than the longest pause", () => {
    const job = written("a");
    hold(open(), job);
    now -= 100 * hourMs;
    expect(reopened().heldOf(job)?.nextProbeAt).toBe(now + hourMs);
  });
});
