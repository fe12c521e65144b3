/**
 * What the last lines of stderr say of a program's end, for a program that ended by itself with an exit code other than 0.
 * The words are the C library's, the shell's, the loader's and CUDA's own. Whoever wrote the job may write them too: they
 * decide what is said, and nothing else.
 */
import { nobody, operator, site, submitter } from "./who.ts";

export interface ProgramFault {
  readonly cause: string;
  readonly who: string;
  readonly hint?: string;
  /** The numbers of its memory tell more. */
  readonly isMemory?: true;
}

interface StderrCause extends ProgramFault {
  readonly pattern: RegExp;
}

/** From top to bottom; the first whose pattern is in any of the lines. */
export const stderrCauses: readonly StderrCause[] = [
  {
    pattern: /CUDA out of memory|CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation|HIP out of memory/,
    cause: "the GPU's memory was full",
    who: `${submitter}, by smaller batches; ${operator}, by a larger GPU in the profile`,
  },
  {
    pattern: /no CUDA-capable device|CUDA driver version is insufficient|Failed to initialize NVML|libcuda\.so/,
    cause: "the program found no GPU that it could use",
    who: operator,
    hint: "see gpus or gres and gpu_runtime in the profile, and the driver on the node",
  },
  {
    pattern: /Cannot allocate memory|std::bad_alloc|MemoryError|java\.lang\.OutOfMemoryError|oom[-_ ]kill/i,
    cause: "the program could get no more memory",
    who: `${operator}, by more memory in the profile; ${submitter}, by smaller data`,
    isMemory: true,
  },
  {
    pattern: /Disk quota exceeded/,
    cause: "a disk quota was full",
    who: operator,
    hint: "see whose quota it is: tmp_dir's, posix_output_dir's, or the image's cache_dir",
  },
  {
    pattern: /No space left on device/,
    cause: "a file system was full",
    who: `${operator}, by more space in tmp_dir or on the node; ${submitter}, by smaller files in /tmp`,
  },
  {
    pattern: /Read-only file system/,
    cause: "the program tried to write where nothing can be written, such as its inputs",
    who: submitter,
    hint: "write to HPC_OUTPUT_DIR or HPC_WORK_DIR",
  },
  {
    pattern: /Exec format error|cannot execute binary file/i,
    cause: "the program or the image was built for another processor than the node's",
    who: operator,
  },
  {
    pattern: /error while loading shared libraries|version `GLIBC_\S*' not found/,
    cause: "a library that the program needs is not there",
    who: `whoever made the program or its image; ${operator}, by the profile's prelude`,
  },
  {
    pattern: /\bmodule: (command )?not found|Lmod has detected the following error|Unable to locate a modulefile/,
    cause: "the profile's prelude could load no module",
    who: operator,
  },
  {
    pattern: /Stale file handle|Input\/output error|Transport endpoint is not connected/,
    cause: "a file system of the node failed under it",
    who: `${site}; ${nobody}`,
  },
];

export function stderrCauseIn(lines: readonly string[]): ProgramFault | undefined {
  const found = stderrCauses.find(({ pattern }) => lines.some((line) => pattern.test(line)));
  if (found === undefined) return undefined;
  const { pattern: _, ...fault } = found;
  return fault;
}
