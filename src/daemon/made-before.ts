/**
 * The artifact that a job's outputs or logs went into, kept in the job directory as well as in the journal: a state that was
 * lost in the middle of an upload goes on with the same one. The job could have written that file, so that it counts only
 * where EMX2 has such an artifact under the name, type and place that the job's own would have.
 */
import * as v from "valibot";
import type { JobFiles } from "../artifacts/job-files.ts";
import type { Call, Emx2Client, NewArtifact } from "../emx2/client.ts";
import { StorageError } from "../errors.ts";
import type { EffectValue, UploadRole } from "../job/effect.ts";
import type { ArtifactStatus } from "../job/status.ts";

interface Parts {
  readonly client: Emx2Client;
  readonly files: Pick<JobFiles, "readControl" | "writeControl">;
}

const Made = v.pipe(v.string(), v.trim(), v.regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$/));
const open: readonly string[] = ["CREATED", "UPLOADING", "REGISTERED"] satisfies readonly ArtifactStatus[];

/** undefined: there is none to go on with, or it is `not` to be. `sha256`: the content that it is to have. */
export async function madeBefore(
  { client, files }: Parts,
  dir: string,
  role: UploadRole,
  wanted: NewArtifact,
  { sha256, not }: { readonly sha256: string; readonly not?: string },
  call: Call,
): Promise<EffectValue["CreateArtifact"] | undefined> {
  const id = v.safeParse(Made, await unlessSpoilt(files.readControl(dir, fileName(role)), null));
  if (!id.success || id.output === not) return undefined;
  const found = await client.readArtifact(id.output, call);
  if (!found || found.name !== wanted.name || found.type !== wanted.type || found.residence !== wanted.residence)
    return undefined;
  if ((found.contentUrl ?? undefined) !== wanted.contentUrl) return undefined;
  if (open.includes(found.status)) return { artifactId: found.id };
  return found.status === "COMMITTED" && found.sha256 === sha256
    ? { artifactId: found.id, committed: true }
    : undefined;
}

/** What can not be kept is done without: it matters only where the state is lost as well. */
export async function keepMade({ files }: Parts, dir: string, role: UploadRole, artifactId: string): Promise<void> {
  await unlessSpoilt(files.writeControl(dir, [{ name: fileName(role), content: `${artifactId}\n` }]), undefined);
}

function fileName(role: UploadRole): string {
  return `artifact-${role}`;
}

async function unlessSpoilt<T>(act: Promise<T>, nothing: T): Promise<T> {
  try {
    return await act;
  } catch (error) {
    if (error instanceof StorageError) return nothing;
    throw error;
  }
}
