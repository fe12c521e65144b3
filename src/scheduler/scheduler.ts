/**
 * The scheduler, as the engine sees it: Slurm, a plain shell, or a simulation. One contract suite
 * (tests/contract/scheduler) holds for all of them.
 */
import type { Profile } from "../job/profile.ts";
import type { RunRef, StatesAnswer } from "../job/run.ts";
import type { Usage } from "../job/usage.ts";

export interface Scheduler {
  /**
   * Submits the script that lies ready in `run.dir`. The caller has written its intent down before. `doubt`: it can not
   * be known whether the scheduler took it (killed, timed out, unreadable answer): look with `find`.
   */
  submit(run: RunRef, profile: Profile, signal: AbortSignal): Promise<SubmitAnswer>;
  /** Looks for a run by its name (never by an id alone), and in the job directory's lease. */
  find(run: RunRef, signal: AbortSignal): Promise<FindAnswer>;
  /** The states of all these runs, with one query for those that the scheduler's queue still knows. */
  states(runs: readonly RunRef[], signal: AbortSignal): Promise<StatesAnswer>;
  /**
   * Asks for the end of every submission of the run's name, or of these `ids` among them. Ending something that has ended is
   * no fault.
   */
  cancel(run: RunRef, signal: AbortSignal, ids?: readonly string[]): Promise<CancelAnswer>;
  /** What accounting recorded of a run that has ended; without it nothing is ever recorded. */
  usage?(run: RunRef, signal: AbortSignal): Promise<UsageAnswer>;
  /** How long after an intent a submission may still turn up, in milliseconds (see design: fence). */
  readonly fenceMs: number;
}

export type SubmitAnswer =
  | { readonly is: "submitted"; readonly schedulerId: string }
  | { readonly is: "refused"; readonly cause: string }
  /** It takes no more for now: a limit on how many, a closed partition. */
  | { readonly is: "busy"; readonly cause: string; readonly full: Full }
  | { readonly is: "unavailable"; readonly cause: string }
  | { readonly is: "doubt"; readonly cause: string; readonly full?: Full };

/** What else has to wait: submissions with the same options, or all. */
export type Full = "profile" | "everything";

export type FindAnswer =
  | { readonly is: "found"; readonly schedulerId: string }
  | { readonly is: "absent" }
  /** `queueAnswers`: accounting alone does not. */
  | { readonly is: "unavailable"; readonly cause: string; readonly queueAnswers?: true };

export type UsageAnswer =
  | { readonly is: "known"; readonly usage: Usage }
  /** Accounting has yet to hear of the run's end. */
  | { readonly is: "pending" }
  /** There is no accounting, or it does not answer. */
  | { readonly is: "nothing" };

export type CancelAnswer = { readonly is: "asked" } | { readonly is: "unavailable"; readonly cause: string };
