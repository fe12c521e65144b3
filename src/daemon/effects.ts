/**
 * Every effect the daemon has on the world, one row a kind: which pool bounds it, whether its intent must be on disk
 * before it starts, what is done when its end is not known, and how it runs. This is the list of edges that a crash can
 * cut; a kind without a row does not compile.
 */
import { backoffMs } from "../emx2/retry.ts";
import {
  asksServer,
  type Effect,
  type EffectKind,
  type EffectOf,
  type FileRow,
  groupFiles,
  type Result,
} from "../job/effect.ts";
import type { Job } from "../job/job.ts";
import type { Durability } from "../journal/journal.ts";
import * as artifacts from "./artifact-effects.ts";
import type { EffectContext } from "./effect-context.ts";
import { resultOf } from "./faults.ts";
import type { PoolName } from "./pools.ts";
import * as runs from "./run-effects.ts";
import * as server from "./server-effects.ts";
import { givenUp } from "./upload-retry.ts";
import { usagePauseMs } from "./usage.ts";

/** How an effect ended, and the file rows it found, if it is one that lists files: whoever has it written down lets go of them. */
export interface Ending<K extends EffectKind = EffectKind> {
  readonly result: Result<K>;
  readonly files?: Iterable<FileRow> & Disposable;
}

export interface EffectRow<K extends EffectKind> {
  readonly pool: PoolName;
  /** Its intent is fsynced before it starts. */
  readonly needsIntent: boolean;
  /** repeat: doing it again is harmless. look: find out first. leave: what it may have made stays behind, unused. */
  readonly inDoubt: "repeat" | "look" | "leave";
  /** A result that can be found out again need not be fsynced on its own. */
  readonly durability: Durability;
  readonly run: (job: Job, effect: EffectOf<K>, context: EffectContext, signal: AbortSignal) => Promise<Ending<K>>;
}

export type EffectTable = { readonly [K in EffectKind]: EffectRow<K> };

const plain = { pool: "control", needsIntent: false, inDoubt: "repeat", durability: "durable" } as const;
/** The files of a group take slots of the transfer pool one by one. */
const group = { ...plain, pool: "groups", durability: "lossy" } as const;

export const effectTable: EffectTable = {
  ClaimJob: { ...plain, needsIntent: true, inDoubt: "look", run: server.claimJob },
  ReadJob: { ...plain, run: server.readJob },
  ListInputs: { ...plain, run: artifacts.listJobInputs },
  StageFiles: { ...group, run: artifacts.stageJobFiles },
  WriteScript: { ...plain, pool: "scripts", run: runs.writeScript },
  Submit: { ...plain, pool: "submissions", needsIntent: true, inDoubt: "look", run: runs.submit },
  FindRun: { ...plain, pool: "lookups", run: runs.findRun },
  CancelRun: { ...plain, pool: "scheduler", run: runs.cancelRun },
  CloseRun: { ...plain, run: runs.closeRun },
  SealFiles: { ...plain, pool: "transfers", run: artifacts.sealFiles },
  CreateArtifact: { ...plain, needsIntent: true, inDoubt: "leave", run: artifacts.createArtifact },
  PutFiles: { ...group, run: artifacts.putJobFiles },
  // Its intent takes the lossy results of the files before it to disk: after the commit none can be put again.
  Commit: { ...plain, needsIntent: true, run: artifacts.commit },
  Report: { ...plain, run: server.report },
  RemoveDir: { ...plain, pool: "removals", run: artifacts.removeDir },
};

/** What the engine needs of the effects. */
export interface Performer {
  poolOf(effect: Effect): PoolName;
  needsIntent(effect: Effect): boolean;
  durability(effect: Effect, result: Result): Durability;
  /** When the lane may go on after this result; undefined: at once. */
  delayMs(effect: Effect, result: Result, failures: number): number | undefined;
  run(job: Job, effect: Effect, signal: AbortSignal): Promise<Ending>;
}

export function createPerformer(context: EffectContext, table: EffectTable = effectTable): Performer {
  const rowOf = (effect: Effect) => table[effect.kind] as EffectRow<EffectKind>;
  return {
    poolOf: (effect) => rowOf(effect).pool,
    needsIntent: (effect) => rowOf(effect).needsIntent,
    durability: (effect, result) =>
      result.is === "ok" && !isWholeGroup(result) ? rowOf(effect).durability : "durable",
    delayMs: (effect, result, failures) => delayMs(context, effect, result, failures),
    async run(job, effect, signal) {
      const row = rowOf(effect);
      try {
        const ending = lastTry(context, job, effect, await row.run(job, effect, context, signal));
        if (asksServer(effect) && ending.result.is === "ok") context.reach.answered("job");
        return ending;
      } catch (error) {
        context.reach.failed(error, "job");
        return { result: givenUp(context, job, effect, resultOf(error, row.inDoubt !== "repeat"), error) };
      }
    },
  };
}

function lastTry(context: EffectContext, job: Job, effect: Effect, ending: Ending): Ending {
  return ending.result.is === "retry" ? { ...ending, result: givenUp(context, job, effect, ending.result) } : ending;
}

/** More may follow: lost with a second of lossy records, dozens of them would be moved again. */
function isWholeGroup({ value }: Extract<Result, { is: "ok" }>): boolean {
  return "files" in value && value.files === groupFiles;
}

function delayMs(context: EffectContext, effect: Effect, result: Result, failures: number): number | undefined {
  const { delays, clock } = context;
  if (result.is === "ok") {
    if (effect.kind === "CancelRun") return delays.cancelRepeatMs;
    if (effect.kind === "CloseRun") return "later" in result.value ? usagePauseMs : undefined;
    return effect.kind === "FindRun" && "schedulerId" in result.value && result.value.schedulerId === null
      ? delays.findRepeatMs
      : undefined;
  }
  const afterMs = result.is === "retry" ? result.afterMs : undefined;
  return backoffMs(failures + 1, clock.random(), afterMs, delays.backoff);
}
