/** The EMX2 poll over a real socket to the emulator, with an engine that only folds: what it asks, observes and says. */

import { type Clock, systemClock } from "../../../src/clock.ts";
import { createLoss } from "../../../src/daemon/loss.ts";
import { createServerPoll, type ServerPoll } from "../../../src/daemon/server-poll.ts";
import { createServerReach, type ServerReach } from "../../../src/daemon/server-reach.ts";
import { type ServedEmulator, serve } from "../../../src/emulator/serve.ts";
import type { StoredJob } from "../../../src/emulator/state.ts";
import { addJob, addWorkerCredential } from "../../../src/emulator/submitter.ts";
import type { JobEvent } from "../../../src/job/effect.ts";
import { fold } from "../../../src/job/fold.ts";
import type { Job } from "../../../src/job/job.ts";
import { type Profile, profileDefaults } from "../../../src/job/profile.ts";
import { createLog } from "../../../src/log.ts";
import { clientOf, hastyClock, secret } from "../emx2/raw-server.ts";
import { began, ended, offered, ok, seen as viewOf } from "../job/story.ts";

export const never = new AbortController().signal;
export const workerId = "w1";

export interface PollStage {
  readonly server: ServedEmulator;
  /** `METHOD /path` of every request but the question which generation of EMX2 it is. */
  readonly requests: string[];
  readonly jobs: Map<string, Job>;
  readonly seen: { readonly id: string; readonly event: JobEvent }[];
  readonly lines: string[];
  /** Answers in the server's place where it gives something. */
  around: (target: string) => Promise<Response> | Response | undefined;
  /** How far the monotonic clock is ahead. */
  aheadMs: number;
  unknownJobsWaitMs: number | null;
  /** What is written down between two lives. */
  readonly journal: { keep(name: string, text: string): void; kept(name: string): string | null };
  /** The worker's, as its file has it. */
  secret: string;
  /** Shared with the lanes of jobs, of which there are none here. */
  readonly reach: ServerReach;
  blocked: string | undefined;
  /** How often it was told that something is claimed no more, or again. */
  news: number;
  /** Profiles for which nothing may be claimed, and why. */
  shut: readonly (readonly [string, string])[];
  /** What each profile may take; one that is not named takes all. */
  claimable: Readonly<Record<string, "all" | "one" | "none">>;
  poll(profiles: readonly Profile[], limits?: PollLimits): ServerPoll;
  /** A job of this worker's; EMX2 knows it unless it is `forgotten`. */
  ours(forgotten?: boolean): string;
  /** EMX2 knows a job again that it had forgotten. */
  restore(id: string): void;
  /** `processor/profile` of what was taken, in order, by job. */
  taken(): { readonly id: string; readonly key: string }[];
  lists(): string[];
  /** How many lines of the log hold these words. */
  said(words: string): number;
}

interface PollLimits {
  readonly maxConcurrentJobs?: number;
  readonly perProfile?: Readonly<Record<string, number>>;
}

/** By `processor/profile`. */
export function profileOf(key: string, over: Partial<Profile> = {}): Profile {
  const [processor = "", profile = "default"] = key.split("/");
  const workload = { kind: "host", entrypoint: "/bin/true" } as const;
  return { key: `${processor}/${profile}`, processor, profile, workload, ...profileDefaults, ...over };
}

export async function openPollStage(): Promise<PollStage> {
  const jobs = new Map<string, Job>();
  const requests: string[] = [];
  const seen: { readonly id: string; readonly event: JobEvent }[] = [];
  const lines: string[] = [];
  const kept = new Map<string, string>();
  const lost = new Map<string, StoredJob>();
  const server = await serve({
    clock: systemClock,
    around: async (request, answer) => {
      const target = `${request.method} ${request.url.replace(/^.*\/api\/hpc/, "")}`;
      if (target !== "GET /health") requests.push(target);
      return (await stage.around(target)) ?? answer();
    },
  });
  addWorkerCredential(server.state, workerId, secret);
  const clock: Clock = { ...hastyClock, mono: () => systemClock.mono() + stage.aheadMs };
  const log = createLog({ clock, level: "info", json: false, color: false, write: (line) => void lines.push(line) });
  const stage: PollStage = {
    ...{
      server,
      requests,
      jobs,
      seen,
      lines,
      aheadMs: 0,
      unknownJobsWaitMs: 3_600_000,
      journal: { keep: (name, text) => void kept.set(name, text), kept: (name) => kept.get(name) ?? null },
      secret,
      blocked: undefined,
      news: 0,
      shut: [],
      claimable: {},
    },
    reach: createServerReach({ clock, log, onRevival: () => undefined, onNews: () => undefined }),
    around: () => undefined,
    poll: (profiles, { maxConcurrentJobs = 10, perProfile = {} } = {}) =>
      createServerPoll({
        engine: {
          jobs,
          observe(id, event) {
            seen.push({ id, event });
            const job = fold(jobs.get(id), event);
            if (job) jobs.set(id, job);
          },
        },
        client: clientOf(server, { clock, credential: { mode: "hmac", secret: () => stage.secret } }),
        clock,
        log,
        intervalMs: 1_000,
        worker: { workerId, hostname: "head" },
        profiles,
        limits: { maxConcurrentJobs, perProfile },
        holds: { claimable: (key) => stage.claimable[key] ?? "all" },
        backend: "slurm",
        jobDir: (id) => `/jobs/${id}`,
        adoption: { look: async () => {} },
        reach: stage.reach,
        loss: createLoss(
          { clock, log, journal: stage.journal, unknownJobsWaitMs: stage.unknownJobsWaitMs },
          "unknown-jobs",
        ),
        blocked: async () => stage.blocked,
        blockedProfiles: async () => new Map(stage.shut),
        onNews: () => {
          stage.news += 1;
        },
      }),
    ours(forgotten = false) {
      const id = addJob(server.state, { processor: "p", profile: "default" });
      const stored = server.state.jobs.get(id);
      if (stored) Object.assign(stored, { status: "CLAIMED", workerId });
      if (forgotten && stored) {
        server.state.jobs.delete(id);
        lost.set(id, stored);
      }
      const view = viewOf({ id, processor: "p", profile: "default", workerId });
      const claim = { kind: "ClaimJob" } as const;
      const value = { job: { ...view, parametersText: "{}" } };
      const events = [{ ...offered, job: view } as JobEvent, began(claim), ended(claim, ok<"ClaimJob">(value))];
      const job = events.reduce<Job | undefined>(fold, undefined);
      if (job) jobs.set(id, job);
      return id;
    },
    restore(id) {
      const stored = lost.get(id);
      if (stored) server.state.jobs.set(id, stored);
    },
    taken: () => seen.flatMap(({ id, event }) => (event.kind === "Offered" ? [{ id, key: event.profileKey }] : [])),
    lists: () => requests.filter((request) => request.startsWith("GET /jobs?")),
    said: (words) => lines.filter((line) => line.includes(words)).length,
  };
  return stage;
}
