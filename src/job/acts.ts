/** What each effect does, as a person calls it: for the log and for `explain`. */
import type { EffectKind } from "./effect.ts";

export const acts: Readonly<Record<EffectKind, string>> = {
  ClaimJob: "claiming the job",
  ReadJob: "reading the job at EMX2",
  ListInputs: "listing the inputs",
  StageFiles: "staging inputs",
  WriteScript: "writing the batch script",
  Submit: "submitting",
  FindRun: "looking for a lost submission",
  CancelRun: "cancelling the run",
  CloseRun: "reading how the run ended",
  SealFiles: "hashing outputs and logs",
  CreateArtifact: "creating an artifact",
  PutFiles: "uploading files",
  Commit: "committing an artifact",
  Report: "reporting to EMX2",
  RemoveDir: "removing the job directory",
};

/** Lanes in which files move, and what that is called. */
export const movementActs = {
  inputs: "staging inputs",
  logs: "uploading logs",
  outputs: "uploading outputs",
} as const;
export type MovingLane = keyof typeof movementActs;
