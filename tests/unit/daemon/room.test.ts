/** Which jobs may fetch their inputs now, with the rows of the others in a real journal. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { systemClock } from "../../../src/clock.ts";
import { type Space, spaceIn } from "../../../src/daemon/free-space.ts";
import { createRoom, type TakeRoom } from "../../../src/daemon/room.ts";
import type { FileRow } from "../../../src/job/effect.ts";
import type { Inputs, Job } from "../../../src/job/job.ts";
import { type Journal, openJournal } from "../../../src/journal/journal.ts";
import { filePut, jobOf } from "../journal/records.ts";

const gibi = 2 ** 30;
let space: Space | string;
let journal: Journal;
let jobs: Map<string, Job>;
let take: TakeRoom;

beforeEach(() => {
  space = { freeBytes: 100 * gibi, totalBytes: 500 * gibi };
  journal = openJournal(":memory:", { clock: systemClock });
  jobs = new Map();
  take = createRoom({ jobs: () => jobs, journal, spaceIn: async () => space, minFreeBytes: 10 * gibi });
});
afterEach(() => journal.close());

function add(id: string, inputs: Inputs = { stage: "unlisted" }, over: Partial<Job> = {}): Job {
  const job = { ...jobOf(id), inputs, ...over };
  jobs.set(id, job);
  return job;
}

/** A job that has fetched `next` of its files, of so many GiB each; the last is one of a posix input. */
function staging(id: string, next: number, sizes: readonly number[]): void {
  const files = sizes.map((size, index): FileRow => {
    const directory = index === sizes.length - 1 ? "/data/reference" : "input/a";
    return { role: "input", index, directory, path: `f${index}`, bytes: size * gibi };
  });
  journal.record({ ...filePut(id, 1), files }, "durable");
  add(id, { stage: "staging", total: files.length, next, movedBytes: 0, bytes: 0 });
}

test("what fits beside min_free_disk is fetched; what does not waits, and says what it takes and what there is", async () => {
  const job = add("one");
  expect(await take(job, 90 * gibi)).toEqual({ is: "taken" });
  expect(await take(job, 90 * gibi + 1)).toEqual({
    is: "retry",
    cause: "its inputs take 90.0 GiB: /scratch has 100.0 GiB free, of which worker.min_free_disk keeps 10.0 GiB",
  });
  space = { freeBytes: 101 * gibi, totalBytes: 500 * gibi };
  expect(await take(job, 90 * gibi + 1)).toEqual({ is: "taken" });
});

test("what can never fit is refused; what needs no room is never asked about", async () => {
  const cause =
    "its inputs take 491.0 GiB: the file system of /scratch has 500.0 GiB in all, of which worker.min_free_disk keeps 10.0 GiB; inputs of posix residence would need no room";
  expect(await take(add("one"), 491 * gibi)).toEqual({ is: "refused", cause });
  space = "/scratch can not be used: not mounted";
  expect(await take(add("one"), 1)).toEqual({ is: "retry", cause: space });
  expect(await take(add("one"), 0)).toEqual({ is: "taken" });
});

test("what others are still to fetch is counted, but not what lies elsewhere, nor what is there", async () => {
  staging("other", 1, [1_000, 30, 20, 1_000]);
  const job = add("one");
  expect(await take(job, 40 * gibi)).toEqual({ is: "taken" });
  expect(await take(job, 41 * gibi)).toMatchObject({
    is: "retry",
    cause: expect.stringMatching(/keeps 10\.0 GiB, and other jobs are to fetch 50\.0 GiB$/),
  });
  for (const over of [
    { closed: { at: 0, status: "FAILED", why: "" } },
    { stop: { by: "operator", at: 0, detail: "" } },
    { inputs: { stage: "ready", total: 4, bytes: 0 } },
  ] satisfies Partial<Job>[]) {
    staging("other", 1, [1_000, 30, 20, 1_000]);
    add("other", jobs.get("other")?.inputs, over);
    expect(await take(job, 90 * gibi)).toEqual({ is: "taken" });
  }
});

test("of several that come at once no two get the same room, and one that went away gives it back", async () => {
  const both = [add("one"), add("two"), add("three")].map((job) => take(job, 40 * gibi));
  expect((await Promise.all(both)).map(({ is }) => is)).toEqual(["taken", "taken", "retry"]);
  add("one", { stage: "unlisted" }, { stop: { by: "operator", at: 0, detail: "" } });
  expect(await take(add("three"), 40 * gibi)).toEqual({ is: "taken" });
  // "two" is over: its files are counted by the file system.
  add("two", { stage: "ready", total: 1, bytes: 40 * gibi });
  expect(await take(add("four"), 40 * gibi)).toEqual({ is: "taken" });
});

test("a file system tells its room, and one that is missing why it does not", async () => {
  const here = await spaceIn(systemClock, import.meta.dir);
  if (typeof here === "string") return expect.unreachable(here);
  expect(here.freeBytes).toBeGreaterThan(0);
  expect(here.totalBytes).toBeGreaterThanOrEqual(here.freeBytes);
  expect(await spaceIn(systemClock, "/nonexistent/jobs")).toContain("/nonexistent/jobs can not be used");
});
