/** With which run a job goes on that no journal knows: nothing that may be under way is ever submitted at once. */
import { describe, expect, test } from "bun:test";
import type { FoundDirectory } from "../../../src/artifacts/found.ts";
import { runInSlurm, runOfDirectory, runTakenOver, type Unknown } from "../../../src/daemon/found-run.ts";

const now = Date.UTC(2026, 2, 1);
const id = "550e8400-e29b-41d4-a716-446655440000";
const claimed: Unknown = { id, status: "CLAIMED", dir: `/jobs/${id}` };
const started: Unknown = { ...claimed, status: "STARTED", slurmJobId: "7" };
const name = `emx2-${id}`;

function found(over: Partial<FoundDirectory> = {}): FoundDirectory {
  const owner = { state: "s", stateDir: "/state", host: "head", uid: 1 };
  return { is: "directory", ownership: { is: "state", owner }, scripted: true, unreceipted: false, since: 0, ...over };
}

describe("by its directory", () => {
  const lease = { attempt: "a1", schedulerId: "42" };
  const rows: readonly (readonly [string, Unknown, Partial<FoundDirectory>, object])[] = [
    ["claimed, no script: from the inputs on", claimed, { scripted: false }, { stage: "none" }],
    ["claimed, a script: in doubt from now on", claimed, {}, { stage: "submitting", doubt: true, intentAt: now }],
    ["claimed, a lease: that run", claimed, { lease }, { stage: "tracked", ref: { schedulerId: "42", name } }],
    [
      "claimed, a closed lease: no other run",
      claimed,
      { lease: { attempt: "a1" } },
      { stage: "tracked", ref: { name } },
    ],
    ["started: the lease before EMX2's id", started, { lease }, { stage: "tracked", ref: { schedulerId: "42" } }],
    [
      "submitted: EMX2's id",
      { ...started, status: "SUBMITTED" },
      {},
      { stage: "tracked", ref: { schedulerId: "7", name } },
    ],
    [
      "a later attempt",
      started,
      { lease: { attempt: "a2", schedulerId: "43" } },
      { stage: "tracked", ref: { attempt: "a2", schedulerId: "43" } },
    ],
    [
      "started, no script: taken over before from the daemon that writes none",
      started,
      { scripted: false },
      { stage: "tracked", ref: { schedulerId: "7", name: "emx2-550e8400", unreceipted: true } },
    ],
    [
      "claimed, taken over before: it may have been submitted by its short name",
      claimed,
      { scripted: false, unreceipted: true },
      { stage: "submitting", doubt: true, ref: { name: "emx2-550e8400", unreceipted: true } },
    ],
    [
      "claimed, taken over, and then begun anew",
      claimed,
      { unreceipted: true },
      { stage: "submitting", ref: { name } },
    ],
    [
      "claimed, no owner: a take-over was cut short",
      claimed,
      { scripted: false, ownership: { is: "nobody" } },
      { stage: "submitting", ref: { unreceipted: true } },
    ],
    [
      "started, taken over, its end was being told",
      started,
      { scripted: false, unreceipted: true, lease: { attempt: "a1" } },
      { stage: "tracked", ref: { schedulerId: "7", name: "emx2-550e8400" } },
    ],
  ];
  test.each(rows)("%s", (_, job, over, run) => {
    expect(runOfDirectory(job, found(over), now)).toMatchObject(run);
  });

  test("what EMX2 calls an id and is none is not followed", () => {
    const run = runOfDirectory({ ...started, slurmJobId: "7,8 --all" }, found(), now);
    expect(run).toMatchObject({ stage: "tracked", ref: { name } });
    expect(JSON.stringify(run)).not.toContain("--all");
  });

  test("a run of another backend is none of Slurm's", () => {
    const shell = { attempt: "a1", schedulerId: "123-456-boot" };
    expect(runOfDirectory(started, found({ lease: shell }), now)).toHaveProperty("unfit");
  });
});

describe("by the operator's word", () => {
  test("claimed, nothing there: as if just claimed", () => {
    expect(runTakenOver(claimed, undefined, now)).toEqual({ stage: "none" });
  });

  test("started, nothing there: followed by EMX2's id, to be lost in the end", () => {
    expect(runTakenOver(started, undefined, now)).toMatchObject({ stage: "tracked", ref: { schedulerId: "7", name } });
  });

  test("the Python daemon's: its short name, no receipts, nothing older than its directory", () => {
    const ref = { name: "emx2-550e8400", unreceipted: true, notBefore: now - 5_000 };
    expect(runTakenOver(started, now - 5_000, now)).toMatchObject({
      stage: "tracked",
      ref: { ...ref, schedulerId: "7" },
    });
    expect(runTakenOver(claimed, now - 5_000, now)).toMatchObject({
      stage: "submitting",
      doubt: true,
      intentAt: now,
      ref,
    });
  });

  test("Slurm has it under the job's own name", () => {
    expect(runInSlurm(claimed, "9", now)).toMatchObject({ stage: "tracked", ref: { schedulerId: "9", name } });
  });
});
