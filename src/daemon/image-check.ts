/**
 * The image of a profile, held to what the profile says of it. It is read where there is time for it (WriteScript); a
 * submission reads it again only where it is not as it was, so that what Slurm is handed is what was checked. What is wrong
 * with it is the operator's fault, not the job's.
 */
import type { JobFiles } from "../artifacts/job-files.ts";
import { StorageError } from "../errors.ts";
import type { Job } from "../job/job.ts";
import type { ImageWorkload, Profile } from "../job/profile.ts";
import type { ImageSeen } from "../job/run.ts";

type Files = Pick<JobFiles, "lookAtImage" | "imageState">;

/** Of what is no file, or can not be read, nothing is known; the submission says why. */
export async function imageSeen(
  job: Job,
  { workload }: Profile,
  files: Files,
  signal: AbortSignal,
): Promise<{ readonly image?: ImageSeen }> {
  if (!usesImage(job, workload)) return {};
  const look = await files.lookAtImage({ dir: job.dir, path: workload.image }, signal);
  return look.is === "file" ? { image: look.seen } : {};
}

export type ImageFit =
  | { readonly is: "fits"; readonly image?: ImageSeen }
  | { readonly is: "refused"; readonly cause: string };

export async function imageFit(job: Job, { workload }: Profile, files: Files, signal: AbortSignal): Promise<ImageFit> {
  if (!usesImage(job, workload)) return { is: "fits" };
  const { image: path, sha256 } = workload;
  const state = await files.imageState(path);
  const before = job.image?.path === path && job.image.state === state ? job.image : undefined;
  const look = before
    ? ({ is: "file", seen: before } as const)
    : await files.lookAtImage({ dir: job.dir, path }, signal);
  if (look.is === "refused") return { is: "refused", cause: look.why };
  if (look.is === "directory")
    return sha256 === undefined
      ? { is: "fits" }
      : { is: "refused", cause: `the image ${path} is a directory, which can not be held to sif_sha256` };
  const { seen } = look;
  if (sha256 !== undefined && seen.sha256 !== sha256)
    return { is: "refused", cause: `the image ${path} has sha256 ${seen.sha256}, and not the profile's sif_sha256` };
  return { is: "fits", ...(before ? {} : { image: seen }) };
}

/** Whether the image that was checked is not there as it was. Nothing is said where it can not be looked at. */
export async function imageChanged({ image }: Job, files: Files): Promise<{ readonly imageChanged?: true }> {
  if (image === undefined) return {};
  try {
    const state = await files.imageState(image.path);
    return state === undefined || state === image.state ? {} : { imageChanged: true };
  } catch (error) {
    if (error instanceof StorageError) return {};
    throw error;
  }
}

function usesImage({ backend }: Job, workload: Profile["workload"]): workload is ImageWorkload {
  return workload.kind === "image" && backend !== "simulate";
}
