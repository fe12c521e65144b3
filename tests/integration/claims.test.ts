/**
 * A long backlog against servers that check capacity and one that does not: which jobs are claimed, when and for which
 * profile, as the server saw it.
 */
import { expect, test } from "bun:test";
import type { StoredJob } from "../../src/emulator/state.ts";
import { addJob } from "../../src/emulator/submitter.ts";
import { isTerminal } from "../../src/job/status.ts";
import { openStage, type Stage } from "./harness.ts";
import type { Program } from "./program.ts";

const testMs = 180_000;
const slots = 40;
/** Of four profiles two have a limit that their backlog is beyond; `null` jobs are for any of them. */
const backlog = { small: 30, large: 30, default: 110, extra: 110, null: 70 } as const;
const limits: Readonly<Record<string, number>> = { small: 2, large: 3 };
/** Claims that are sent at the same time may arrive in any order. */
const inFlight = 8;

const profiles = Object.fromEntries(
  ["small", "large", "default", "extra"].map((profile) => [
    profile,
    { program: "", processor: "p", profile, ...(limits[profile] ? { max_concurrent_jobs: limits[profile] } : {}) },
  ]),
);

/** 350 PENDING jobs in no order of age. */
function submitAll({ state }: Stage): string[] {
  const wanted = Object.entries(backlog).flatMap(([profile, count]) => Array<string>(count).fill(profile));
  return wanted.map((profile, index) => {
    const id = addJob(state, { processor: "p", profile: profile === "null" ? null : profile });
    // 211 has no factor in common with their number, so that each gets an age of its own.
    const createdAt = Date.UTC(2026, 0, 1) + ((index * 211) % wanted.length) * 1_000;
    Object.assign(state.jobs.get(id) ?? {}, { createdAt });
    return id;
  });
}

/** As a server that lists by age has them. */
function inOrderOfAge({ state }: Stage): void {
  const jobs = [...state.jobs.values()].sort((a, b) => a.createdAt - b.createdAt);
  state.jobs.clear();
  for (const job of jobs) state.jobs.set(job.id, job);
}

/** Which profile runs each job, as the daemon's log says it. */
function profileKeys(daemon: Program): Map<string, string> {
  const claims = daemon.stderr().matchAll(/jobId=(\S+) claimed .*profile=(\S+)/g);
  return new Map([...claims].map(([, id = "", key = ""]) => [id, key]));
}

/** What holds at every claim that reaches the server. */
function watchClaims(stage: Stage) {
  const claimed: StoredJob[] = [];
  const refused: string[] = [];
  let mostActive = 0;
  let mostPassedOver = 0;
  stage.around = async (request, answer) => {
    const response = await answer();
    const id = /\/jobs\/([^/]+)\/claim$/.exec(request.url)?.[1];
    if (id === undefined) return response;
    if (response.status !== 200) refused.push(`${id} ${response.status}`);
    const jobs = [...stage.state.jobs.values()];
    const job = stage.job(id);
    claimed.push(job);
    const active = jobs.filter(({ status }) => status !== "PENDING" && !isTerminal(status)).length;
    const older = jobs.filter(
      (other) => other.status === "PENDING" && other.profile === job.profile && other.createdAt < job.createdAt,
    );
    mostActive = Math.max(mostActive, active);
    mostPassedOver = Math.max(mostPassedOver, older.length);
    return response;
  };
  return { claimed, refused, mostActive: () => mostActive, mostPassedOver: () => mostPassedOver };
}

/** The most jobs of one profile at the same time, from when each was claimed and when it ended. */
function mostAtOnce(jobs: readonly StoredJob[]): number {
  const moves = jobs.flatMap(({ claimedAt, completedAt }) => [
    { at: claimedAt ?? 0, step: 1 },
    { at: completedAt ?? Number.POSITIVE_INFINITY, step: -1 },
  ]);
  let now = 0;
  // What ends in the same millisecond has ended before.
  const counts = moves.sort((a, b) => a.at - b.at || a.step - b.step).map(({ step }) => (now += step));
  return Math.max(...counts);
}

test.each(["2026-05", "2026-02"] as const)(
  "350 jobs at a server of %s are claimed in turn over profiles, oldest first, and never above a limit",
  async (generation) => {
    const worker = { max_concurrent_jobs: slots };
    await using stage = await openStage({ generation, profiles, worker });
    const ids = submitAll(stage);
    if (generation === "2026-05") inOrderOfAge(stage);
    const watch = watchClaims(stage);
    const daemon = stage.start("run", "--backend", "simulate");
    const done = () => ids.every((id) => isTerminal(stage.job(id).status));
    await stage.until("all jobs have ended", done, testMs - 30_000);

    expect(ids.filter((id) => stage.job(id).status !== "COMPLETED")).toEqual([]);
    expect(watch.refused).toEqual([]);
    expect(watch.claimed).toHaveLength(ids.length);
    expect(watch.mostActive()).toBeLessThanOrEqual(slots);
    expect(watch.mostPassedOver()).toBeLessThan(inFlight);

    const keys = profileKeys(daemon);
    const of = (profile: string) => ids.filter((id) => keys.get(id) === `${profile}/default`);
    for (const [profile, limit] of Object.entries(limits))
      expect(mostAtOnce(of(profile).map((id) => stage.job(id)))).toBe(limit);
    // Each job went to its own profile, and those for any to the one named default.
    expect(of("small")).toHaveLength(backlog.small);
    expect(of("default")).toHaveLength(backlog.default + backlog.null);

    // Before any job had ended the free slots were shared out evenly.
    const first = watch.claimed.slice(0, slots).map(({ id }) => keys.get(id));
    const shares = ["small", "large", "default", "extra"].map((profile) => [
      profile,
      first.filter((key) => key === `${profile}/default`).length,
    ]);
    expect(Object.fromEntries(shares)).toEqual({ small: 2, large: 3, default: 18, extra: 17 });
  },
  testMs,
);
