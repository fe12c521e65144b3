/** What is told of files that are on their way for long, and how seldom. */
import { expect, test } from "bun:test";
import { createMovementNews, Movements } from "../../../src/daemon/movements.ts";
import type { FileRow, JobEvent } from "../../../src/job/effect.ts";
import type { Job } from "../../../src/job/job.ts";
import { createLog } from "../../../src/log.ts";
import { createVirtualClock } from "../../simulation/virtual-clock.ts";
import * as story from "../job/story.ts";

const row = (index: number, bytes: number): FileRow => ({
  ...{ role: "output", index, directory: "output", path: `f${index}`, bytes },
});
const known = story.play(story.toTracked);
const putting: Job = {
  ...known,
  outputs: { stage: "putting", artifactId: "a", total: 10, next: 4, bytes: 1_000, movedBytes: 400, sha256: "cd" },
};

function watched() {
  const clock = createVirtualClock({ seed: 1 });
  const movements = new Movements();
  const lines: string[] = [];
  const log = createLog({ json: false, color: false, level: "info", clock, write: (line) => lines.push(line) });
  const told: JobEvent[] = [];
  let news = 0;
  const loop = createMovementNews({
    ...{ clock, log, movements },
    engine: { observe: (_jobId, event) => told.push(event) },
    onNews: () => {
      news += 1;
    },
  });
  const look = async () => {
    await clock.advance(loop.intervalMs);
    await loop.tick(new AbortController().signal);
  };
  return { movements, lines, told, look, loop, news: () => news };
}

test("files and bytes are counted on from what had arrived before, and an attempt that is made anew counts anew", () => {
  const { movements } = watched();
  const moving = movements.begin(putting, "outputs");
  moving.bytes(row(4, 100), 60);
  moving.bytes(row(5, 200), 90);
  moving.arrived(row(4, 100));
  moving.bytes(row(5, 200), 10);
  expect(movements.now().get(putting.id)).toEqual({
    ...{ lane: "outputs", files: 5, ofFiles: 10, bytes: 510, ofBytes: 1_000 },
  });
  moving.end();
  expect(movements.now().size).toBe(0);
});

test("outputs are seen moving whatever becomes of logs beside them", () => {
  const { movements } = watched();
  const outputs = movements.begin(putting, "outputs");
  const logs = movements.begin(putting, "logs");
  expect(movements.now().get(putting.id)?.lane).toBe("outputs");
  logs.end();
  expect(movements.now().get(putting.id)?.lane).toBe("outputs");
  outputs.end();
  expect(movements.now().size).toBe(0);
});

test("what has long arrived by the next look is not told of; what goes on is, EMX2 once a minute", async () => {
  const { movements, lines, told, look, loop, news } = watched();
  const moving = movements.begin(putting, "outputs");
  await look();
  expect([lines.length, told.length]).toEqual([0, 0]);
  for (let at = 1; at <= 10; at += 1) {
    moving.bytes(row(4, 600), at * 50);
    await look();
  }
  expect(lines).toHaveLength(10);
  expect(lines[1]).toContain(`jobId=${putting.id} uploading outputs files=4/10 bytes=500/1000 bytesPerSecond=4`);
  expect(loop.intervalMs).toBeGreaterThanOrEqual(11_000);
  expect(told.map((event) => event.kind === "Progressed" && event.progress)).toEqual([
    { phase: "uploading outputs", fraction: 0.45 },
    { phase: "uploading outputs", fraction: 0.7 },
  ]);
  expect(news()).toBe(11);
  moving.end();
  await look();
  expect([lines.length, told.length, news()]).toEqual([10, 2, 11]);
});

test("a look that falls between two groups makes EMX2 hear no more of a job", async () => {
  const { movements, told, look } = watched();
  for (let group = 0; group < 2; group += 1) {
    const moving = movements.begin(putting, "outputs");
    await look();
    await look();
    moving.end();
    await look();
  }
  expect(told).toHaveLength(1);
});

test("inputs are no news to EMX2, to which the job has not begun", async () => {
  const { movements, lines, told, look } = watched();
  const staging = { ...known, inputs: { stage: "staging", total: 2, next: 0, bytes: 0, movedBytes: 0 } } as const;
  movements.begin(staging, "inputs");
  for (let at = 0; at < 3; at += 1) await look();
  expect(lines).toHaveLength(2);
  expect(told).toEqual([]);
});
