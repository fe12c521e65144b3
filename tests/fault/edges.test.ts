/**
 * At every edge of every effect the daemon is ended with SIGKILL: just before the effect, just after it, just after its
 * result was recorded. A daemon that is started afterwards brings the job to the end that it would have had.
 */
import { expect, test } from "bun:test";
import { copyFileSync, existsSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../src/clock.ts";
import { type Journal, openJournal } from "../../src/journal/journal.ts";
import { readSnapshot } from "../../src/journal/snapshot.ts";
import { openStage, type Stage } from "../integration/harness.ts";
import { straysOf } from "../integration/strays.ts";
import { type End, ends, expectEnd, files, isOver, profiles } from "./ends.ts";
import { type Edge, edges, isAbout } from "./failpoint.ts";
import { type Situation, situations } from "./situations.ts";

const lifeMs = 40_000;
/** Nothing is submitted again before the fence is over: 120 s after the next daemon has found the doubt. */
const fenceMs = 120_000;
const testMs = 2 * (fenceMs + lifeMs);
const killed = 137;
/** With these the fence is as short as it can be. */
const slurm = { submit_timeout_seconds: 10, message_timeout_seconds: 1, accounting_lag_seconds: 1 };

interface Killed {
  readonly point: string;
  readonly edge: Edge;
}

/** Plays a situation to its end, killed on the way or not, and gives what the job directory holds then. */
async function play(situation: Situation, kill?: Killed): Promise<readonly string[]> {
  const end: End = ends[situation.end];
  await using stage = await openStage({
    ...{ profiles, slurm },
    ...(situation.worker && { worker: situation.worker }),
  });
  if (end.inQueue) await Bun.write(join(stage.slurmDir, "hold"), "");
  const id = stage.submit(end.processor, { files });
  for (const failpoint of situation.ahead ?? []) {
    expect((await stage.startFailing(failpoint, "run").ended(lifeMs)).exitCode).toBe(killed);
  }
  const neverSent = kill?.point === "Submit" && kill.edge === "before";
  const boundMs = neverSent || situation.end === "never submitted" ? fenceMs + lifeMs : lifeMs;
  const lostCreates = kill ? await dieAt(stage, id, situation, kill, boundMs) : 0;
  const from = systemClock.wall();

  const seen = stage.requests.length;
  const last = stage.start("run");
  if (!kill) await situation.meanwhile?.(stage, id);
  await stage.until("all is told", () => isOver(stage, id, end), boundMs);
  // All may have been told before it began.
  await stage.until("it polls", () => stage.requests.slice(seen).some((asked) => asked.includes("status=PENDING")));
  last.kill();
  expect((await last.ended()).exitCode).toBe(0);
  if (neverSent) expect(submittedAt(stage) - from).toBeGreaterThanOrEqual(fenceMs - 1_000);

  await stage.until("the job is closed", () => closesWith(stage, id), lifeMs);
  await stage.until("nothing of it runs any more", () => straysOf(stage.dir).length === 0);
  expectEnd(stage, id, end, lostCreates);
  return listing(join(stage.jobsDir, id));
}

/** A daemon comes to the failpoint, and no further. Gives how many artifacts it was creating when it died. */
async function dieAt(
  stage: Stage,
  id: string,
  { meanwhile, isDone }: Situation,
  { point, edge }: Killed,
  boundMs: number,
): Promise<number> {
  const daemon = stage.startFailing(`${point}:${edge}`, "run");
  await meanwhile?.(stage, id);
  expect((await daemon.ended(boundMs)).exitCode).toBe(killed);
  if (isDone) expect(isDone(stage, id)).toBe(edge !== "before");
  const { history, inDoubt } = onDisk(stage, id);
  const results = history.filter(({ event }) => event.kind === "Ended" && isAbout(event.effect, point));
  expect(results).toHaveLength(edge === "recorded" ? 1 : 0);
  return inDoubt.filter(({ effect }) => effect.kind === "CreateArtifact").length;
}

/** The journal, from a copy, so that the next daemon finds it as the dead one left it. */
function onDisk(stage: Stage, id: string): ReturnType<Journal["load"]> & { history: ReturnType<Journal["history"]> } {
  const dir = mkdtempSync(join(stage.dir, "journal-"));
  for (const name of readdirSync(stage.stateDir).filter((name) => name.startsWith("journal.db")))
    copyFileSync(join(stage.stateDir, name), join(dir, name));
  const journal = openJournal(join(dir, "journal.db"), { clock: systemClock });
  const found = { ...journal.load(), history: journal.history(id) };
  journal.close();
  rmSync(dir, { recursive: true });
  return found;
}

/** One cycle more each time: does the daemon itself think that it has nothing more to do for the job? */
async function closesWith(stage: Stage, id: string): Promise<boolean> {
  expect((await stage.start("once").ended()).exitCode).toBe(0);
  const job = readSnapshot(join(stage.stateDir, "snapshot.db"))?.jobs.find((known) => known.id === id);
  return job === undefined || job.closed?.status === stage.job(id).status;
}

function submittedAt({ slurmDir }: Stage): number {
  return statSync(join(slurmDir, "jobs", "1.job")).mtimeMs;
}

/** Names of what lies there; artifacts have another id each time. */
function listing(dir: string): readonly string[] {
  if (!existsSync(dir)) return [];
  const names = readdirSync(dir, { recursive: true, encoding: "utf8" });
  return names.map((name) => name.replace(/^input\/[^/]+/, "input/ID")).sort();
}

for (const [kind, played] of Object.entries(situations)) {
  for (const situation of played) {
    const { name = "", detail } = situation;
    const point = detail === undefined ? kind : `${kind}/${detail}`;
    const undisturbed = once(() => play(situation));
    test.concurrent(`${point} ${name}: a daemon that lives`, async () => void (await undisturbed()), testMs);
    for (const edge of edges) {
      test.concurrent(
        `${point} ${name}: killed at the edge "${edge}"`,
        async () => expect(await play(situation, { point, edge })).toEqual(await undisturbed()),
        testMs,
      );
    }
  }
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
}
