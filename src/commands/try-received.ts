/** What the embedded EMX2 has of a trial's outputs, every hash made anew: from what it received, or where it stays. */
import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { bytesOfArtifactPath } from "../artifacts/disk-path.ts";
import type { EmulatorState, StoredFile } from "../emulator/state.ts";
import { errnoOf, isSystemError, meaningOf } from "../errors.ts";
import type { Job } from "../job/job.ts";

export interface Received {
  readonly files: readonly ReceivedFile[];
  /** Not all came back, or not as it was announced. */
  readonly fault?: string;
}

export interface ReceivedFile {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
}

export async function receivedOf(state: EmulatorState, jobId: string, job: Job | undefined): Promise<Received> {
  const stored = state.jobs.get(jobId);
  if (!stored) throw new Error(`the trial's EMX2 lost job ${jobId}`);
  const log = stored.logArtifactId === null ? undefined : state.artifacts.get(stored.logArtifactId);
  const output = stored.outputArtifactId === null ? undefined : state.artifacts.get(stored.outputArtifactId);
  const place = output?.contentUrl == null ? undefined : fileURLToPath(output.contentUrl);
  const files: ReceivedFile[] = [];
  const faults: string[] = [];
  if (stored.status === "COMPLETED" && log?.status !== "COMMITTED") faults.push("the log artifact is not committed");
  if (output && output.status !== "COMMITTED") faults.push("the output artifact is not committed");
  const byPath = [...(output?.files ?? [])].sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [path, file] of byPath) {
    const sha256 = await sha256Of(file, place);
    if (sha256.is === "unreadable") faults.push(sha256.why);
    else if (sha256.hex !== file.sha256) faults.push(`${path} is not what its hash says`);
    else files.push({ path, bytes: file.sizeBytes, sha256: sha256.hex });
  }
  const leftOut = (job?.leftOut?.names ?? []).filter((name) => !name.endsWith("(empty directory)"));
  if (leftOut.length > 0) faults.push(`left out of the outputs: ${leftOut.join(", ")}`);
  return { files, ...(faults.length === 0 ? {} : { fault: faults.slice(0, 3).join("; ") }) };
}

type Hash = { readonly is: "read"; readonly hex: string } | { readonly is: "unreadable"; readonly why: string };

async function sha256Of({ path, content, large }: StoredFile, place: string | undefined): Promise<Hash> {
  const received = large ?? (content && new Blob([content]));
  try {
    const source = place === undefined ? received?.stream() : await openIn(place, path);
    if (!source) return { is: "unreadable", why: `EMX2 has no content of ${path}` };
    return { is: "read", hex: await hashOf(source) };
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return { is: "unreadable", why: `${path} can not be read again: ${meaningOf(error.code)}` };
  }
}

/** EMX2 is told a name that is not UTF-8 in another spelling. */
async function openIn(place: string, path: string): Promise<AsyncIterable<Uint8Array | string>> {
  const asTold = Buffer.from(join(place, path));
  const onDisk = Buffer.concat([Buffer.from(`${place}/`), bytesOfArtifactPath(path)]);
  const file = await open(asTold).catch((error: unknown) => {
    if (errnoOf(error) !== "ENOENT" || onDisk.equals(asTold)) throw error;
    return open(onDisk);
  });
  return file.createReadStream();
}

export function sha256OfBlob(blob: Blob): Promise<string> {
  return hashOf(blob.stream());
}

/** Streamed: an output may be larger than memory. */
async function hashOf(source: AsyncIterable<Uint8Array | string>): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of source) hash.update(chunk);
  return hash.digest("hex");
}
