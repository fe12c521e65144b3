/** What waits after a failure: a large body that is never taken waits for a person, who may have it tried at once. */
import { expect, test } from "bun:test";
import { decide } from "../../../src/job/decide.ts";
import { fold } from "../../../src/job/fold.ts";
import type { Job } from "../../../src/job/job.ts";
import {
  closedRun,
  ended,
  exited,
  known,
  noFiles,
  observed,
  play,
  policy,
  retry,
  row,
  startAt,
  succeeded,
  toTracked,
  uploaded,
} from "./story.ts";

const put = { kind: "PutFiles", role: "output", from: 0 } as const;
const notTaken = { is: "retry", cause: '"big" of 20000000 bytes: the connection was cut', notTaken: true } as const;
const boundMs = policy.uploadRetryMs ?? 0;
const putting = play([
  ...toTracked,
  observed(row("COMPLETED"), exited(0)),
  closedRun(succeeded),
  noFiles("log"),
  ...uploaded("output").slice(0, 2),
]);

function failed(job: Job, times: number, result: typeof notTaken | typeof retry): Job {
  let next = job;
  for (let time = 0; time < times; time += 1)
    next = known(fold(next, { ...ended(put, result, startAt + time), at: startAt + time }));
  return next;
}

const outputs = (job: Job, now: number, uploadRetryMs: number | null = boundMs) => {
  const up = { schedulerUp: true };
  const { start, wakeAt, why } = decide(job, up, { ...policy, uploadRetryMs }, now);
  return { puts: start.some(({ kind }) => kind === "PutFiles"), wakeAt, why };
};

test("a large body is sent ten times, then a person is waited for, or the bound, when it is sent once more", () => {
  const now = startAt + 60_000;
  expect(outputs(failed(putting, 9, notTaken), now).puts).toBe(true);
  const parked = failed(putting, 10, notTaken);
  expect(outputs(parked, now)).toMatchObject({ puts: false, wakeAt: startAt + boundMs });
  expect(outputs(parked, now).why).toContain(`waits for \`retry ${parked.id}\`, since EMX2 has not taken it 10 times`);
  expect(outputs(parked, now).why).toContain("the connection was cut");
  expect(outputs(parked, startAt + boundMs).puts).toBe(true);
  expect(outputs(parked, startAt + 1_000 * boundMs, null)).toMatchObject({ puts: false, wakeAt: undefined });
});

test("what fails otherwise in between counts for nothing, and takes nothing back", () => {
  const mixed = failed(failed(failed(putting, 5, notTaken), 20, retry), 4, notTaken);
  expect(outputs(mixed, startAt + 60_000).puts).toBe(true);
  expect(outputs(failed(mixed, 1, notTaken), startAt + 60_000).puts).toBe(false);
});

test("asked for, it is tried at once, as often as at first", () => {
  const asked = { kind: "RetryAsked", at: startAt + 60_000, by: "the operator" } as const;
  const again = known(fold(failed(putting, 10, notTaken), asked));
  expect(outputs(again, startAt + 60_000).puts).toBe(true);
  expect(again.waits).toEqual({});
  expect(outputs(failed(again, 9, notTaken), startAt + 120_000).puts).toBe(true);
  expect(outputs(failed(again, 10, notTaken), startAt + 120_000).puts).toBe(false);
  // Where nothing has failed there is nothing to try.
  expect(fold(putting, asked)).toBe(putting);
});

test("a log that is never taken is done without: the outputs and the end do not wait for it", () => {
  const putLog = { kind: "PutFiles", role: "log", from: 0 } as const;
  let job = play([
    ...toTracked,
    observed(row("COMPLETED"), exited(0)),
    closedRun(succeeded),
    ...uploaded("log").slice(0, 2),
  ]);
  for (let time = 0; time < 10; time += 1) {
    expect(job.logs.stage).toBe("putting");
    job = known(fold(job, { ...ended(putLog, notTaken, startAt + time), at: startAt + time }));
  }
  expect(job.logs).toEqual({ stage: "failed", detail: notTaken.cause });
  const { start } = decide(job, { schedulerUp: true }, policy, startAt + 60_000);
  expect(start).toContainEqual({ kind: "SealFiles", role: "output" });
});
