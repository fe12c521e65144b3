/**
 * EMX2 from this host: reachable, of which generation, switched on, this worker known to it, the clocks, and the jobs that wait
 * there. Two questions, health and the list of PENDING jobs; the worker is not registered.
 */

import type { Clock } from "../../clock.ts";
import type { Config } from "../../config/config.ts";
import type { Call, Emx2Client, Fetch, Health, JobList } from "../../emx2/client.ts";
import { ApiError, ConfigError, NetworkError } from "../../errors.ts";
import type { Log } from "../../log.ts";
import { clientOf } from "../connect.ts";
import { emx2Fault } from "./emx2-fault.ts";
import { type CheckItem, failed, ok, warning } from "./item.ts";
import { pendingItems } from "./pending.ts";

export interface Emx2Parts {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** No byte for so long is no answer; a call is made twice before that is believed. */
const idleTimeoutMs = 8_000;
const attempts = 2;
/** Of the PENDING jobs at EMX2, so many are looked at. */
const maxListedJobs = 2_000;
const pageSize = 500;
/** EMX2 refuses requests that are 300 s off. */
const oddOffsetS = 60;

export async function checkEmx2({ config, clock, log, signal }: Emx2Parts): Promise<CheckItem[]> {
  const dates = createDates(clock);
  const client = connected(config, clock, log, dates.fetch);
  if ("result" in client) return [client];
  const call = { signal, attempts };
  const health = await asked(config, () => client.health(call));
  if ("result" in health) return [health];
  const off = switchedOff(health);
  if (health.workerCredentials && health.hpcEnabled === false) return [off];
  const { baseUrl, workerId } = config.emx2;
  const generation = health.workerCredentials ? "a secret for each worker (2026-05)" : "one shared secret (2026-02)";
  const answers = ok("EMX2", `${baseUrl} answers: API ${health.apiVersion ?? "unknown"}, ${generation}`);

  const pending = await asked(config, () => pendingJobs(client, call), off);
  if ("result" in pending) return [answers, pending, ...(pending.item === "clock" ? [] : dates.items())];
  const known = ok(
    "authentication",
    `EMX2 accepts ${config.emx2.authMode === "hmac" ? "the secret" : "the token"} of worker ${workerId}`,
  );
  return [answers, known, ...dates.items(), ...pendingItems(config.profiles, pending)];
}

function connected(config: Config, clock: Clock, log: Log, fetch: Fetch): Emx2Client | CheckItem {
  try {
    return clientOf(config, clock, log, { fetch, idleTimeoutMs, onClockOffset: () => {} });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return failed("EMX2", error.message, "correct what emx2 in the configuration names");
  }
}

function pendingJobs(client: Emx2Client, call: Call): Promise<JobList> {
  return client.listJobs({ status: "PENDING", pageSize, maxJobs: maxListedJobs }, call);
}

/** 2026-02 says in health that it is off until its first request, so the first request tells. */
function switchedOff({ workerCredentials }: Health): CheckItem {
  const fix = workerCredentials
    ? "set MOLGENIS_HPC_ENABLED=true in EMX2's _SYSTEM_ settings"
    : "set MOLGENIS_HPC_SHARED_SECRET (32 characters or more) in EMX2's _SYSTEM_ settings";
  return failed("EMX2", "its HPC API is switched off", fix);
}

/** `off`: what EMX2's own 503 means. */
async function asked<T extends object>(config: Config, ask: () => Promise<T>, off?: CheckItem): Promise<T | CheckItem> {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof ApiError || error instanceof NetworkError)) throw error;
    const isOff = error instanceof ApiError && error.answer.status === 503 && error.answer.form !== undefined;
    return isOff && off !== undefined ? off : emx2Fault(error, config.emx2, process.env);
  }
}

/** Every answer carries the server's time, to the second. */
function createDates(clock: Clock): { readonly fetch: Fetch; items(): CheckItem[] } {
  let offsetS: number | undefined;
  return {
    async fetch(url, init) {
      const response = await globalThis.fetch(url, init);
      const serverMs = Date.parse(response.headers.get("date") ?? "");
      if (!Number.isNaN(serverMs)) offsetS = Math.round((clock.wall() - serverMs) / 1_000);
      return response;
    },
    items() {
      if (offsetS === undefined) return [];
      const detail = `this host is ${Math.abs(offsetS)} s ${offsetS < 0 ? "behind" : "ahead of"} EMX2`;
      if (Math.abs(offsetS) < oddOffsetS) return [ok("clock", detail)];
      return [
        warning("clock", `${detail}; from 300 s on EMX2 refuses every request`, "set this host's clock (chrony, ntpd)"),
      ];
    },
  };
}
