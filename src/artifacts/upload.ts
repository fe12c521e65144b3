/** Outputs and logs on their way from the job directory into artifacts of EMX2. */
import type { Call, Emx2Client, NewArtifact } from "../emx2/client.ts";
import { ApiError } from "../errors.ts";
import type { FileRow, UploadRole } from "../job/effect.ts";
import type { Job } from "../job/job.ts";
import type { JobFiles } from "./job-files.ts";
import { quote } from "./path.ts";

/** From this size on a question whether the file is there already is cheaper than sending it again. */
const headFirstFromBytes = 1024 * 1024;

/** The artifact that a job's outputs or logs go into. The job's script was written, so its parameters have a hash. */
export function artifactFor(job: Job, role: UploadRole): NewArtifact {
  return {
    type: role === "log" ? "log" : "blob",
    residence: "managed",
    name: `${role}-${job.id.slice(0, 8)}`,
    metadata: {
      jobId: job.id,
      processor: job.processor,
      profile: job.serverProfile,
      role,
      createdBy: job.submitUser,
      inputArtifactIds: job.inputRefs.map((input) => input.artifactId),
      parametersHash: job.parametersHash ?? "",
      ...(job.backend === "simulate" ? { simulated: true } : {}),
    },
  };
}

/**
 * Puts one file, streamed. Putting it twice does no harm, so that after a crash it is simply done again; a large one that
 * has arrived is not sent again. Throws IntegrityError where the file is no longer the one that was hashed.
 */
export async function putFile(
  client: Emx2Client,
  files: JobFiles,
  dir: string,
  row: FileRow,
  artifactId: string,
  call: Call,
): Promise<void> {
  const { path, bytes, sha256 } = row;
  if (sha256 === undefined) throw new Error(`${row.role} file ${quote(path)} in ${dir} was not hashed`);
  if (bytes >= headFirstFromBytes) {
    const there = await client.headFile(artifactId, path, call);
    if (there?.bytes === bytes && there.sha256 === sha256) return;
  }
  try {
    await client.putFile(artifactId, { path, bytes, sha256, body: () => files.read(dir, row) }, call);
  } catch (error) {
    throw tooLarge(error) ? explained(error, row) : error;
  }
}

function tooLarge(error: unknown): error is ApiError {
  return error instanceof ApiError && error.answer.status === 413;
}

function explained(error: ApiError, { path, bytes }: FileRow): ApiError {
  const advice = "large outputs belong in posix residence (output_residence: posix in the profile)";
  return new ApiError(`EMX2 does not take ${quote(path)} of ${bytes} bytes: ${advice}. ${error.message}`, error.answer);
}
