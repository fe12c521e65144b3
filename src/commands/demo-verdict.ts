/**
 * Did a demo job come back right: its status and what was said of it, its logs, its committed output, each file's bytes and
 * hash? What stays on the cluster is read there.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { EmulatorState, StoredArtifact, StoredFile, StoredJob, Transition } from "../emulator/state.ts";
import { sha256Hex } from "../emx2/signature.ts";
import { isSystemError, meaningOf } from "../errors.ts";
import type { DemoJob } from "./demo-jobs.ts";

export interface Verdict {
  readonly expected: DemoJob;
  readonly job: StoredJob;
  readonly output: StoredArtifact | undefined;
  /** Where the output stays; undefined: EMX2 has it. */
  readonly place: string | undefined;
  /** What it said of itself while it ran, in order. */
  readonly progress: readonly Transition[];
  /** What is not as it should be. */
  readonly wrong: string | undefined;
}

export function verdictOf(state: EmulatorState, id: string, expected: DemoJob): Verdict {
  const job = state.jobs.get(id);
  if (!job) throw new Error(`the demo's EMX2 lost job ${id}`);
  const output = job.outputArtifactId === null ? undefined : state.artifacts.get(job.outputArtifactId);
  const place = output?.contentUrl == null ? undefined : fileURLToPath(output.contentUrl);
  const progress = job.transitions.filter(({ phase, progress: fraction }) => phase !== null && fraction !== null);
  const verdict = { expected, job, output, place, progress };
  return { ...verdict, wrong: statusFault(verdict) ?? logFault(state, job) ?? outputFault(verdict) };
}

type Found = Omit<Verdict, "wrong">;

function statusFault({ expected, job, progress }: Found): string | undefined {
  const detail = job.transitions.at(-1)?.detail ?? "";
  if (job.status !== expected.status)
    return `${job.status} instead of ${expected.status}${detail === "" ? "" : `: ${detail}`}`;
  const unsaid = expected.detail?.find((words) => !detail.includes(words));
  if (unsaid !== undefined) return `the report does not say "${unsaid}"`;
  if (expected.phase !== undefined && !progress.some(({ phase }) => phase === expected.phase))
    return "EMX2 was never told how far it was";
  return undefined;
}

function logFault(state: EmulatorState, { logArtifactId }: StoredJob): string | undefined {
  const log = logArtifactId === null ? undefined : state.artifacts.get(logArtifactId);
  return log?.status === "COMMITTED" ? undefined : "its log artifact is not committed";
}

function outputFault({ expected, output, place }: Found): string | undefined {
  const names = Object.keys(expected.output).sort();
  if (names.length === 0) return output ? "an output artifact where none should be" : undefined;
  if (output?.status !== "COMMITTED") return "its output artifact is not committed";
  if (output.residence !== expected.residence) return `its output is ${output.residence}, not ${expected.residence}`;
  const found = [...output.files.keys()].sort();
  if (found.join("\n") !== names.join("\n")) return `output files ${found.join(", ")} instead of ${names.join(", ")}`;
  for (const [path, file] of output.files) {
    const content = contentOf(file, place);
    if (typeof content === "string") return content;
    if (sha256Hex(content) !== file.sha256) return `${path} is not what its hash says`;
    if (new TextDecoder().decode(content) !== expected.output[path]) return `${path} has not the expected content`;
  }
  return undefined;
}

/** Or why there is none. */
function contentOf({ path, content }: StoredFile, place: string | undefined): Uint8Array | string {
  if (place === undefined) return content ?? `EMX2 has no content of ${path}`;
  try {
    return readFileSync(join(place, path));
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return `${join(place, path)} can not be read: ${meaningOf(error.code)}`;
  }
}
