/**
 * The stage of `real-slurm.ts` with images: Apptainer is named by EMX2_TEST_APPTAINER, the directory of the images that
 * tests/slurm/image.sh builds by EMX2_TEST_IMAGES; without them there are no tests. A job's program is lines of sh, passed as
 * arguments to the image's shell.
 */
import { join } from "node:path";
import type { Submission } from "../harness.ts";
import { onRealSlurm, openSlurmStage, type SlurmStage, type SlurmStageOptions } from "./real-slurm.ts";

const { EMX2_TEST_APPTAINER: apptainer, EMX2_TEST_IMAGES: images = "" } = process.env;

export const realApptainer = apptainer ?? "";
/** Its runscript runs its arguments in a shell. */
export const tool = join(images, "tool.sif");
/** It has no runscript. */
export const bare = join(images, "bare.sif");
/** The program is fixed, and takes arguments. */
export const shellOf = { sif_image: tool, container_entrypoint: "/bin/sh" };

export function onImages(what: string, tests: () => void): void {
  if (apptainer !== undefined) onRealSlurm(what, tests);
}

export function openImageStage(options: SlurmStageOptions): Promise<SlurmStage> {
  const worker = { receipt_wait_seconds: 10, max_concurrent_jobs: 100, ...options.worker };
  return openSlurmStage({ ...options, worker, apptainer: { command: apptainer, ...options.apptainer } });
}

/** Arguments behind the program's lines are its own. */
export function argsOf(program: string, ...args: readonly string[]): string {
  return JSON.stringify({ args: ["-ec", program, "sh", ...args] });
}

export function submitProgram(
  stage: SlurmStage,
  processor: string,
  program: string,
  submission: Omit<Submission, "parametersText"> = {},
): string {
  return stage.submit(processor, { ...submission, parametersText: argsOf(program) });
}
