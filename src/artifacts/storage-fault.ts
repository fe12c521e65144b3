/**
 * What a failing file system means, said once: errno becomes a StorageError that names the act, the place and, where
 * there is one, the remedy. And how long an answer is waited for: a dead NFS server answers nothing at all, for ever.
 */
import type { Clock } from "../clock.ts";
import { errnoOf, meaningOf, StorageError } from "../errors.ts";

/** Runs `work`; what the system refuses becomes a StorageError saying that `act` failed at `path`. */
export async function onDisk<T>(act: string, path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const code = error instanceof StorageError ? undefined : errnoOf(error);
    if (code === undefined) throw error;
    const message = `can not ${act} ${path}: ${meaningOf(code)}`;
    throw new StorageError(message, { code, syscall: act, path }, { cause: error });
  }
}

/** What an act that takes longer tells of itself. */
export interface Progress {
  /** The file system has answered once more. Throws when the act has been given up, so that it goes no further. */
  step(): void;
  /** Waits for something that is not the file system, and is bounded elsewhere. */
  elsewhere<T>(wait: Promise<T>): Promise<T>;
}

/**
 * Gives up where no answer came for `timeoutMs` (noticed within twice that): neither a result nor a step. What was asked
 * may still happen, and has to be harmless then.
 */
export async function answeredWithin<T>(
  clock: Clock,
  timeoutMs: number,
  path: string,
  work: (progress: Progress) => Promise<T>,
): Promise<T> {
  let callOff = () => {};
  let moved = false;
  let elsewhere = 0;
  let silent: StorageError | undefined;
  const silence = new Promise<never>((_, reject) => {
    const watch = () => {
      if (!moved && elsewhere === 0) {
        silent = unanswered(timeoutMs, path);
        return reject(silent);
      }
      moved = false;
      callOff = clock.timer(timeoutMs, watch);
    };
    callOff = clock.timer(timeoutMs, watch);
  });
  const progress: Progress = {
    step() {
      if (silent) throw silent;
      moved = true;
    },
    async elsewhere(wait) {
      elsewhere += 1;
      try {
        return await wait;
      } finally {
        elsewhere -= 1;
        moved = true;
      }
    },
  };
  try {
    return await Promise.race([work(progress), silence]);
  } finally {
    callOff();
  }
}

function unanswered(timeoutMs: number, path: string): StorageError {
  const message = `the file system of ${path} has not answered for ${Math.round(timeoutMs / 1000)} s`;
  return new StorageError(message, { code: "ETIMEDOUT", syscall: "wait for", path });
}
