/** Where a job stands, in the field's words: one short phrase of its lanes, for `status` and `explain`. */
import { movementActs } from "../job/acts.ts";
import type { Job, Upload } from "../job/job.ts";
import { phaseOf } from "../job/run.ts";
import type { Movement } from "../journal/overview.ts";
import { size } from "./when.ts";

/** The part of its life that a job is in, to be counted. */
export type Part = "preparing" | "queued" | "running" | "returning" | "done";

export function partOf({ closed, run }: Job): Part {
  if (closed) return "done";
  if (run.stage === "ended") return "returning";
  if (run.stage !== "tracked") return "preparing";
  return run.exitSince !== undefined || run.startedAt !== undefined ? "running" : "queued";
}

/** `moving`: how far its files have got by now; the job itself knows whole groups of them alone. */
export function stageOf(job: Job, moving?: Movement): string {
  const { closed, claim } = job;
  if (claim.stage === "refused") return "not ours";
  if (closed) return `done: ${closed.status}`;
  if (claim.stage !== "ours") return "claiming";
  const stage = (moving && stageOfMoving(job, moving)) ?? stageOfRun(job);
  return job.stop && job.run.stage !== "ended" ? `ending: ${stage}` : stage;
}

/** undefined: the job has gone on since. */
function stageOfMoving(job: Job, { lane, files, ofFiles, bytes, ofBytes }: Movement): string | undefined {
  const { stage } = job[lane];
  if (stage !== "staging" && stage !== "putting") return undefined;
  const share = ofBytes > 0 ? `, ${size(bytes)} of ${size(ofBytes)}` : "";
  return `${movementActs[lane]} ${files}/${ofFiles}${share}`;
}

function stageOfRun(job: Job): string {
  const { run } = job;
  switch (run.stage) {
    case "none":
      return stageOfInputs(job);
    case "written":
      return "waiting to be submitted";
    case "submitting":
      return run.doubt ? "looking for its submission" : "being submitted";
    case "tracked":
      return stageInScheduler(run);
    case "ended":
      return stageAfterwards(job);
  }
}

function stageOfInputs({ inputs }: Job): string {
  switch (inputs.stage) {
    case "unlisted":
      return "listing inputs";
    case "staging":
      return `staging inputs ${inputs.next}/${inputs.total}`;
    case "ready":
      return "writing its script";
    case "failed":
      return "its inputs failed";
  }
}

function stageInScheduler(run: Extract<Job["run"], { stage: "tracked" }>): string {
  const { row, receipts, exitSince, absentSince, startedAt } = run;
  if (exitSince !== undefined) return "ended, not closed yet";
  if (absentSince !== undefined) return "not known to the scheduler";
  if (!row) return startedAt === undefined ? "submitted" : onNode("RUNNING", receipts?.start?.node);
  const word = row.word ?? row.state;
  const phase = phaseOf[row.state];
  if (phase === "pending") return row.reason === undefined || row.reason === "None" ? word : `${word} (${row.reason})`;
  return onNode(word, row.node ?? receipts?.start?.node);
}

function onNode(word: string, node: string | undefined): string {
  return node === undefined ? word : `${word} on ${node}`;
}

function stageAfterwards({ logs, outputs, outbox, announced }: Job): string {
  if (isOpen(logs)) return upload("logs", logs);
  if (isOpen(outputs)) return upload("outputs", outputs);
  return `reporting ${outbox.at(-1)?.status ?? announced}`;
}

function isOpen({ stage }: Upload): boolean {
  return stage === "waiting" || stage === "sealed" || stage === "putting";
}

function upload(what: string, state: Upload): string {
  if (state.stage === "waiting") return `hashing ${what}`;
  return state.stage === "putting" ? `uploading ${what} ${state.next}/${state.total}` : `uploading ${what}`;
}
