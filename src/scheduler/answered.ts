/**
 * A bound on every look at a job directory: it lies on shared storage, which may never answer.
 */
import type { Clock } from "../clock.ts";
import { StorageError } from "../errors.ts";

const answerMs = 30_000;

/** A call that hangs in the kernel can not be taken back; only the wait for it ends. */
export async function answered<T>(clock: Clock, path: string, read: () => Promise<T>): Promise<T> {
  const silence = Promise.withResolvers<never>();
  const callOff = clock.timer(answerMs, () => {
    const message = `the file system of ${path} has not answered for ${answerMs / 1_000} s`;
    silence.reject(new StorageError(message, { code: "ETIMEDOUT", syscall: "wait for", path }));
  });
  try {
    return await Promise.race([read(), silence.promise]);
  } finally {
    callOff();
  }
}
