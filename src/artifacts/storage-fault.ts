/**
 * What a failing file system means, said once: errno becomes a StorageError that names the act, the place and, where
 * there is one, the remedy. And how long an answer is waited for: a dead NFS server answers nothing at all, for ever.
 */
import type { Clock } from "../clock.ts";
import { StorageError } from "../errors.ts";

const meaning: Readonly<Record<string, string>> = {
  ENOSPC: "no space is left on the file system",
  EDQUOT: "the disk quota is used up",
  EFBIG: "the file is larger than the file system or the process limit (ulimit -f) allows",
  EROFS: "the file system is read-only",
  ESTALE: "the network file system has lost the file (stale handle)",
  ELOOP: "a symbolic link stands where a file or directory of ours should be",
  ENOTDIR: "something that is no directory stands where one should be",
  EMFILE: "too many files are open in this process (ulimit -n)",
};

/** Runs `work`; what the system refuses becomes a StorageError saying that `act` failed at `path`. */
export async function onDisk<T>(act: string, path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const code = error instanceof StorageError ? null : errnoOf(error);
    if (code === null) throw error;
    const message = `can not ${act} ${path}: ${meaning[code] ?? "the file system refused"} (${code})`;
    throw new StorageError(message, { code, syscall: act, path }, { cause: error });
  }
}

/** For short acts only: what has not answered in `timeoutMs` counts as unreachable (it may still happen, harmlessly). */
export async function answeredWithin<T>(clock: Clock, timeoutMs: number, path: string, work: Promise<T>): Promise<T> {
  let callOff = () => {};
  const silence = new Promise<never>((_, reject) => {
    callOff = clock.timer(timeoutMs, () => {
      const seconds = Math.round(timeoutMs / 1000);
      const message = `the file system of ${path} has not answered for ${seconds} s`;
      reject(new StorageError(message, { code: "ETIMEDOUT", syscall: "wait for", path }));
    });
  });
  try {
    return await Promise.race([work, silence]);
  } finally {
    callOff();
  }
}

/** The system's word for what went wrong, or null where it was not the system. */
export function errnoOf(error: unknown): string | null {
  if (!(error instanceof Error) || !("code" in error) || !("syscall" in error)) return null;
  return typeof error.code === "string" ? error.code : null;
}
