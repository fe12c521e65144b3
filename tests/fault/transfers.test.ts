/**
 * Every call about artifacts, broken at every place of its request and of its answer: the connection reset, closed or hung,
 * or an answer that says no. Each job meets one such fault, once or some times in a row, beside all others in one daemon:
 * whatever breaks, its bytes arrive, and COMPLETED is not said before all of them are committed.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { GenerationName } from "../../src/emulator/generation.ts";
import { isTerminal } from "../../src/job/status.ts";
import { artifactsOf, committed, sha256Of } from "../integration/committed.ts";
import { openStage, type Stage } from "../integration/harness.ts";
import { type BreakingProxy, openBreakingProxy } from "./breaking-proxy.ts";
import {
  type Case,
  calls,
  contentFor,
  expected,
  generations,
  judgeOf,
  profiles,
  type Row,
  rowsOf,
} from "./transfer-faults.ts";

/** What hangs is ended by the daemon after a minute without a byte. */
const boundMs = 150_000;
const testMs = boundMs + 10_000;
const worker = { max_concurrent_jobs: 300, max_concurrent_transfers: 32, heartbeat_interval_seconds: 10 };

interface Play {
  readonly stage: Stage;
  readonly proxy: BreakingProxy;
  readonly cases: ReadonlyMap<string, Case>;
}

async function play(generation: GenerationName): Promise<Play> {
  const proxy = await openBreakingProxy();
  const stage = await openStage({ generation, profiles, worker, emx2: { base_url: proxy.url } });
  proxy.target = stage.url;
  const cases = rowsOf(generation).map((row) => caseOf(stage, row));
  proxy.judge = judgeOf(stage, cases);
  stage.start("run", "--backend", "shell");
  return { stage, proxy, cases: new Map(cases.map((each) => [each.row.name, each])) };
}

function caseOf(stage: Stage, row: Row): Case {
  const files = contentFor();
  const id = stage.submit(calls[row.call].processor, { files });
  return { row, id, files, left: row.times, met: 0 };
}

describe("a fault at one call about artifacts", () => {
  const plays = new Map<GenerationName, Play>();
  const playOf = (generation: GenerationName): Play => {
    const found = plays.get(generation);
    if (found === undefined) throw new Error(`${generation} is not played`);
    return found;
  };

  beforeAll(async () => {
    for (const generation of generations) plays.set(generation, await play(generation));
  });
  afterAll(async () => {
    for (const { stage, proxy } of plays.values()) {
      await stage[Symbol.asyncDispose]();
      await proxy[Symbol.asyncDispose]();
    }
  });

  for (const generation of generations) {
    for (const { name, end } of rowsOf(generation)) {
      test(
        `${generation}: ${name}`,
        async () => {
          const { stage, cases } = playOf(generation);
          const played = cases.get(name);
          if (played === undefined) throw new Error(`no job for ${name}`);
          await stage.untilStatus(played.id, end, boundMs);
          expect(played.met).toBeGreaterThan(0);
          expectEnd(stage, played);
        },
        testMs,
      );
    }
    test(`${generation}: and the proxy itself did no harm`, () =>
      expect(playOf(generation).proxy.troubles).toEqual([]));
  }
});

test(
  "connections that are not taken, just when any of these calls is made, cost nothing but time",
  async () => {
    await using proxy = await openBreakingProxy();
    await using stage = await openStage({ profiles, worker, emx2: { base_url: proxy.url } });
    proxy.target = stage.url;
    const cases = rowsOf("2026-05")
      .filter(({ place, way }) => place === "after the request, before EMX2 sees it" && way === "reset")
      .map((row) => caseOf(stage, { ...row, fault: { place: row.place, way: "refuse" } }));
    proxy.judge = judgeOf(stage, cases);
    stage.start("run", "--backend", "shell");
    for (const { id } of cases) await stage.untilStatus(id, "COMPLETED", boundMs);
    // With each, what else was under way has lost its answer too.
    for (const played of cases) expectEnd(stage, played, cases.length);
    expect(cases.map(({ row, met }) => [row.call, met])).toEqual(cases.map(({ row }) => [row.call, 1]));
    expect(proxy.troubles).toEqual([]);
  },
  testMs,
);

/** `others`: how many answers to a create may have been lost besides. */
function expectEnd(stage: Stage, { row, id, files }: Case, others = 0): void {
  const job = stage.job(id);
  const ends = job.transitions.filter(({ to }) => isTerminal(to));
  expect(ends.map(({ to }) => to)).toEqual([row.end]);
  expect(stage.ledger().filter((line) => line === id)).toHaveLength(1);
  expect(artifactsOf(stage, "log", id).map(({ status }) => status)).toEqual(["COMMITTED"]);
  committed(stage, job.logArtifactId);
  // An answer to a create that was lost: what it had made can not be found, and stays empty.
  const empty = [...stage.state.artifacts.values()].filter(
    ({ name, files }) => (name ?? "").endsWith(`-${id.slice(0, 8)}`) && files.size === 0,
  );
  expect(empty.every(({ status }) => status === "CREATED")).toBe(true);
  expect(empty.length).toBeLessThanOrEqual(others + (row.call === "create" ? row.times : 0));
  if (row.end === "FAILED") {
    expect(ends[0]?.detail).toMatch(row.says);
    expect(job.outputArtifactId).toBeNull();
    return;
  }
  expect(artifactsOf(stage, "output", id).map(({ id, status }) => [id, status])).toEqual([
    [job.outputArtifactId ?? "", "COMMITTED"],
  ]);
  const arrived = [...committed(stage, job.outputArtifactId)].map(([path, content]) => [path, sha256Of(content)]);
  expect(Object.fromEntries(arrived)).toEqual(expected(row, files));
  const committedAt = stage.state.artifacts.get(job.outputArtifactId ?? "")?.committedAt ?? Number.POSITIVE_INFINITY;
  expect(committedAt).toBeLessThanOrEqual(ends[0]?.at ?? 0);
}
