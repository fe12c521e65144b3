/** How the shell ends runs: on request and at their time limit, with everything that they have started, and nobody else. */
import { expect, test } from "bun:test";
import { existsSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { bootMark } from "../../../src/scheduler/shell-process.ts";
import { isAlive, killWaitMs, never, type Submitted, sessionOf, shellStage } from "./shell-stage.ts";

const on = shellStage();
const uid = process.getuid?.() ?? -1;
const limitMs = 60_000;
const limited = { time: "1" };

/** Ignores TERM, as its child does, and says the child's process id. */
const stubborn =
  'trap "" TERM; (while :; do sleep 0.1; done) & echo $! >child.part; mv child.part child; while :; do sleep 0.1; done';
/** Hears TERM, and ends with it. */
const obedient = 'trap "exit 7" TERM; echo $$ >ready; while :; do sleep 0.1; done';
/** Goes on by itself, in the run's session: the program has long ended. */
const leavesChild = "(trap '' TERM; exec sleep 60) >/dev/null 2>&1 & echo $! >child; exit 0";

const pidOf = (run: Submitted) => Number.parseInt(run.schedulerId, 10);
const stopFile = (run: Submitted) => join(run.dir, ".emx2", "stop.a1.0");
const stopReceipt = (run: Submitted) => JSON.parse(readFileSync(stopFile(run), "utf8"));

/** All of it is to be gone, and stay so for whoever looks. */
async function expectGone(run: Submitted, ...pids: number[]): Promise<void> {
  await on.until("all of it is gone", () => [pidOf(run), ...pids].every((pid) => !isAlive(pid)));
}

test("a cancelled run that does not obey is killed with its children once the grace is over, not before", async () => {
  const run = await on.submitted(stubborn);
  const child = await on.pidIn(run, "child");
  const daemon = on.daemon();
  expect(await daemon.cancel(run, never)).toEqual({ is: "asked" });
  await on.until("the script has been told", () => existsSync(stopFile(run)));
  on.pass(killWaitMs - 1_000);
  expect(await on.row(run, daemon)).toMatchObject({ state: "COMPLETING" });
  expect([pidOf(run), child].map(isAlive)).toEqual([true, true]);
  on.pass(1_000);
  expect(await on.rowIn("CANCELLED", run, daemon)).toMatchObject({ cancelledBy: uid });
  await expectGone(run, child);
});

test("the request is repeated: the grace runs on from the first one, whichever daemon asks", async () => {
  const run = await on.submitted(stubborn);
  const child = await on.pidIn(run, "child");
  await on.daemon().cancel(run, never);
  on.pass(killWaitMs / 2);
  await on.daemon().cancel(run, never);
  expect([pidOf(run), child].map(isAlive)).toEqual([true, true]);
  on.pass(killWaitMs / 2);
  await on.daemon().cancel(run, never);
  await expectGone(run, child);
  expect(await on.rowIn("CANCELLED", run)).toMatchObject({ cancelledBy: uid });
});

test("a daemon that died between its record of the end and TERM is followed by one that sends it", async () => {
  const run = await on.submitted(obedient);
  await on.pidIn(run, "ready");
  const ending = { v: 1, by: "CANCELLED", at: Date.UTC(2020, 0), uid, termAt: null };
  await Bun.write(join(run.dir, ".emx2", `ending.${run.schedulerId}`), JSON.stringify(ending));
  expect(await on.row(run)).toMatchObject({ state: "COMPLETING" });
  expect(await on.rowIn("CANCELLED", run)).toMatchObject({ cancelledBy: uid });
  expect(stopReceipt(run)).toMatchObject({ signal: "TERM" });
});

test("a run within its time limit is left alone, and tells how long it has been going", async () => {
  const run = await on.submitted(obedient, limited);
  await on.pidIn(run, "ready");
  on.pass(limitMs - 10_000);
  expect(await on.row(run)).toMatchObject({ state: "RUNNING", elapsed: expect.stringMatching(/^00:00:5\d$/) });
});

test("a run without a time limit has none", async () => {
  const run = await on.submitted(obedient);
  await on.pidIn(run, "ready");
  on.pass(40 * 24 * 3_600_000);
  expect(await on.row(run)).toMatchObject({ state: "RUNNING", elapsed: expect.stringMatching(/^960:00:\d\d$/) });
});

test("at its time limit a run is told to end, and is TIMEOUT whatever it returns", async () => {
  const run = await on.submitted(obedient, limited);
  await on.pidIn(run, "ready");
  on.pass(limitMs);
  expect(await on.row(run)).toMatchObject({ state: "COMPLETING" });
  const row = await on.rowIn("TIMEOUT", run);
  expect(row).toMatchObject({ reason: "TimeLimit", elapsed: expect.stringMatching(/^00:00:\d\d$/) });
  expect(row.cancelledBy).toBeUndefined();
  expect(stopReceipt(run)).toMatchObject({ signal: "TERM" });
});

test("a limit that was over while no daemon ran is kept by the next, the grace by the one after it", async () => {
  const run = await on.submitted(stubborn, limited);
  const child = await on.pidIn(run, "child");
  on.pass(limitMs * 3);
  expect(await on.row(run)).toMatchObject({ state: "COMPLETING", elapsed: expect.stringMatching(/^00:03:/) });
  expect(isAlive(child)).toBe(true);
  on.pass(killWaitMs);
  const row = await on.rowIn("TIMEOUT", run);
  // Killed, it has no receipt: the time until its end was asked for.
  expect(row).toMatchObject({ elapsed: expect.stringMatching(/^00:03:/) });
  await expectGone(run, child);
});

test("who is cancelled after the time limit has ended it stays TIMEOUT", async () => {
  const run = await on.submitted(stubborn, limited);
  await on.pidIn(run, "child");
  on.pass(limitMs);
  await on.row(run);
  await on.daemon().cancel(run, never);
  on.pass(killWaitMs);
  expect(await on.rowIn("TIMEOUT", run)).toMatchObject({ reason: "TimeLimit" });
});

test("what a program leaves behind is ended before its run is over", async () => {
  const run = await on.submitted(leavesChild);
  const child = await on.pidIn(run, "child");
  await on.until("the script has ended", () => !isAlive(pidOf(run)));
  const daemon = on.daemon();
  expect(await on.row(run, daemon)).toMatchObject({ state: "COMPLETING" });
  expect(await on.rowIn("COMPLETED", run, daemon)).toMatchObject({ exitCode: 0 });
  await expectGone(run, child);
});

test("a script that was killed takes its workload along, and a cancel does so at once", async () => {
  const [first, second] = [await on.submitted(stubborn), await on.submitted(stubborn)];
  const children = [await on.pidIn(first, "child"), await on.pidIn(second, "child")];
  for (const run of [first, second]) process.kill(pidOf(run), "SIGKILL");
  await on.until("the scripts are gone", () => [first, second].every((run) => !isAlive(pidOf(run))));
  expect(children.map(isAlive)).toEqual([true, true]);
  expect(await on.row(first)).toMatchObject({ state: "COMPLETING" });
  await on.daemon().cancel(second, never);
  await expectGone(second, ...children);
  expect(await on.rowIn("FAILED", first)).toMatchObject({ reason: "gone without a receipt" });
});

test("of a run that has only one process left, which has cleared its environment, that one is ended", async () => {
  const run = await on.submitted("echo $$ >child; exec env -i sleep 60");
  const child = await on.pidIn(run, "child");
  // Parents first, so that none of them notices.
  for (const pid of sessionOf(run)) if (pid !== child) process.kill(pid, "SIGKILL");
  await on.until("it is alone", () => !existsSync(`/proc/${pidOf(run)}`) && sessionOf(run).join() === `${child}`);
  expect(await on.row(run)).toMatchObject({ state: "COMPLETING" });
  await expectGone(run, child);
});

test("a session whose leader is gone, and for which nobody vouches, is none of ours", async () => {
  const run = on.run("true");
  const forks = ["sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!; cut -d' ' -f22 /proc/$$/stat"];
  const other = Bun.spawn(forks, { env: { PATH: process.env["PATH"] }, detached: true, stderr: "ignore" });
  const [child, ticks] = (await new Response(other.stdout).text()).trim().split("\n");
  await other.exited;
  const schedulerId = `${other.pid}-${ticks}-${bootMark()}`;
  symlinkSync(schedulerId, join(run.dir, ".emx2", "lease.a1"));
  await on.daemon().cancel({ ...run, schedulerId }, never);
  expect(await on.row(run)).toMatchObject({ schedulerId, state: "FAILED" });
  expect(isAlive(Number(child))).toBe(true);
  process.kill(Number(child), "SIGKILL");
});

test("groups that a run has made in its session end with it", async () => {
  // timeout(1) makes itself a group.
  const grouped = `timeout 60 sh -c 'trap "" TERM; echo $$ >child; while :; do sleep 0.1; done'`;
  const run = await on.submitted(`trap "" TERM; ${grouped} & while :; do sleep 0.1; done`);
  const child = await on.pidIn(run, "child");
  await on.daemon().cancel(run, never);
  on.pass(killWaitMs);
  await on.rowIn("CANCELLED", run);
  await expectGone(run, child);
});

test("one run's end is nothing to the others", async () => {
  const runs = await Promise.all([stubborn, stubborn, stubborn].map((program) => on.submitted(program)));
  const [first, ...others] = runs as [Submitted, ...Submitted[]];
  await Promise.all(runs.map((run) => on.pidIn(run, "child")));
  await on.daemon().cancel(first, never);
  on.pass(killWaitMs);
  await on.rowIn("CANCELLED", first);
  for (const run of others) expect(await on.row(run)).toMatchObject({ state: "RUNNING" });
  expect(new Set(runs.map(({ schedulerId }) => schedulerId)).size).toBe(3);
});

test("a run whose directory is gone, and takes no record, can still be ended", async () => {
  const run = await on.submitted(stubborn);
  const child = await on.pidIn(run, "child");
  rmSync(join(run.dir, ".emx2"), { recursive: true });
  const daemon = on.daemon();
  expect(await on.row(run, daemon)).toMatchObject({ state: "RUNNING" });
  await daemon.cancel(run, never);
  on.pass(killWaitMs);
  expect(await on.rowIn("CANCELLED", run, daemon)).toMatchObject({ cancelledBy: uid });
  await expectGone(run, child);
});
