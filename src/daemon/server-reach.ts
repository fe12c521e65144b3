/**
 * Whether EMX2 can be asked at all. A connection that fails, a gateway that answers in its place, a credential that is
 * refused: what meets one request so meets every other. Then no lane asks any more, however many jobs there are, but one
 * probe (the poll's), after pauses that double and are jittered; and all go on when it is answered.
 */
import type { Clock } from "../clock.ts";
import { backoffMs, concernsAll } from "../emx2/retry.ts";
import { ApiError, NetworkError } from "../errors.ts";
import type { Log } from "../log.ts";

export interface ServerReach {
  /** Nobody asks but the probe. */
  readonly isDown: boolean;
  /** It is down since it does not take who we are: a sign of life is of no use either. */
  readonly refusesUs: boolean;
  /** While it is down: what went wrong last. */
  readonly cause: string | undefined;
  isProbeDue(): boolean;
  /** The probe, or a heartbeat, was answered: everybody may try. */
  revived(): void;
  /** What was asked about jobs was answered. */
  answered(by: Asker): void;
  failed(error: unknown, by: Asker): void;
}

/** A job's lane, of which one failure may be chance, or the poll, which has tried more than once. */
type Asker = "job" | "poll";

interface ReachParts {
  readonly clock: Clock;
  readonly log: Log;
  /** EMX2 may be asked again. */
  onRevival(): void;
  /** Something else is wrong than before, or nothing any more. */
  onNews(): void;
}

/** Of jobs, with no answer between them. */
const enoughFailures = 3;
const usualPause = { firstMs: 1_000, capMs: 180_000 };
/** Some servers lock out whoever comes again and again with a wrong secret. */
const refusedPause = { firstMs: 15_000, capMs: 300_000 };
const sayAgainMs = 3_600_000;

export function createServerReach({ clock, log, onRevival, onNews }: ReachParts): ServerReach {
  let down: { readonly dueAt: number; readonly refusesUs: boolean; readonly cause: string } | undefined;
  /** Since anything about jobs was answered: failures in a row, and how often it went down. */
  let failures = 0;
  let downs = 0;
  let said: { readonly what: string; readonly at: number } | undefined;

  const say = (error: ApiError | NetworkError) => {
    const what = gist(error);
    if (said?.what === what && clock.mono() - said.at < sayAgainMs) return;
    said = { what, at: clock.mono() };
    onNews();
    const words = "EMX2 can not be asked now; running jobs go on, nothing new is claimed";
    if (needsPerson(error)) log.error(words, { cause: error.message });
    else log.warn(words, { cause: error.message });
  };
  const revived = () => {
    if (!down) return;
    down = undefined;
    onRevival();
  };
  /** While it is down only the probe asks: what comes of a lane was under way then, and says nothing new. */
  const isLate = (by: Asker) => down !== undefined && by === "job";

  return {
    get isDown() {
      return down !== undefined;
    },
    get refusesUs() {
      return down?.refusesUs === true;
    },
    get cause() {
      return down?.cause;
    },
    isProbeDue: () => down !== undefined && clock.mono() >= down.dueAt,
    revived,
    answered(by) {
      if (isLate(by)) return;
      failures = 0;
      downs = 0;
      if (said) {
        log.info("EMX2 answers again");
        onNews();
      }
      said = undefined;
      revived();
    },
    failed(error, by) {
      if (isLate(by)) return;
      if (error instanceof ApiError && !concernsAll(error)) {
        // It can be asked; that it is well would be too much to say of one that fails at what it is asked.
        if (error.answer.status < 500) return this.answered(by);
        failures = 0;
        return revived();
      }
      if (!(error instanceof ApiError || error instanceof NetworkError)) return;
      failures += 1;
      const mayBeChance = by === "job" && downs === 0 && failures < enoughFailures && !refuses(error);
      if (mayBeChance) return;
      downs += 1;
      const askedMs = error instanceof ApiError ? error.answer.retryAfterMs : undefined;
      const refusesUs = refuses(error);
      const pauseMs = backoffMs(downs, clock.random(), askedMs, refusesUs ? refusedPause : usualPause);
      down = { dueAt: clock.mono() + pauseMs, refusesUs, cause: error.message };
      say(error);
    },
  };
}

/** A credential that is not taken, by EMX2 or by a proxy. */
function refuses(error: ApiError | NetworkError): boolean {
  return error instanceof ApiError && [401, 407].includes(error.answer.status);
}

/** Time alone mends it not: a secret, a right, an address, a switch in EMX2. */
function needsPerson(error: ApiError | NetworkError): boolean {
  if (!(error instanceof ApiError)) return false;
  const { status, form } = error.answer;
  // A page is mostly a notice that passes.
  if (status < 300) return false;
  return [401, 403, 407].includes(status) || status < 400 || (status === 503 && form !== undefined);
}

/** Another cause is news; the same one in other words, or about another path, is not. */
function gist(error: ApiError | NetworkError): string {
  if (error instanceof NetworkError) return error.failure.code;
  const { status, form, clockOffsetS } = error.answer;
  return [status, form, clockOffsetS !== undefined].join();
}
