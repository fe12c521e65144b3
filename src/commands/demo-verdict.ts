/** Did a demo job come back right: its status, its committed output, each file's bytes and hash? */
import type { EmulatorState, StoredArtifact, StoredJob } from "../emulator/state.ts";
import { sha256Hex } from "../emx2/signature.ts";
import type { JobStatus } from "../job/status.ts";
import type { DemoJob } from "./demo-jobs.ts";

export interface Verdict {
  readonly name: string;
  readonly job: StoredJob;
  readonly status: JobStatus;
  readonly output: StoredArtifact | undefined;
  /** Every file's hash was made anew here and is what EMX2 committed. */
  readonly verified: boolean;
  /** What is not as it should be. */
  readonly wrong: string | undefined;
}

export function verdictOf(state: EmulatorState, id: string, expected: DemoJob): Verdict {
  const job = state.jobs.get(id);
  if (!job) throw new Error(`the demo's EMX2 lost job ${id}`);
  const output = job.outputArtifactId === null ? undefined : state.artifacts.get(job.outputArtifactId);
  const verified = output?.status === "COMMITTED" && [...output.files.values()].every(isIntact);
  return {
    name: expected.name,
    job,
    status: job.status,
    output,
    verified,
    wrong: faultOf(state, job, output, expected),
  };
}

function isIntact(file: { readonly content: Uint8Array | null; readonly sha256: string | null }): boolean {
  return file.content !== null && sha256Hex(file.content) === file.sha256;
}

function faultOf(
  state: EmulatorState,
  job: StoredJob,
  output: StoredArtifact | undefined,
  expected: DemoJob,
): string | undefined {
  if (job.status !== expected.status) {
    const detail = job.transitions.at(-1)?.detail;
    return `${job.status} instead of ${expected.status}${detail ? `: ${detail}` : ""}`;
  }
  const log = job.logArtifactId === null ? undefined : state.artifacts.get(job.logArtifactId);
  if (log?.status !== "COMMITTED") return "its log artifact is not committed";
  const names = Object.keys(expected.output);
  if (names.length === 0) return output ? "an output artifact where none should be" : undefined;
  if (output?.status !== "COMMITTED") return "its output artifact is not committed";
  const found = [...output.files.keys()].sort();
  if (found.join("\n") !== names.sort().join("\n"))
    return `output files ${found.join(", ")} instead of ${names.join(", ")}`;
  for (const [path, content] of Object.entries(expected.output)) {
    const file = output.files.get(path);
    if (!file || !isIntact(file)) return `${path} is not what its hash says`;
    if (new TextDecoder().decode(file.content ?? undefined) !== content) return `${path} has not the expected content`;
  }
  return undefined;
}
