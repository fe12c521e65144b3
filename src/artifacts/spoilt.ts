/** What a job has done to its own directory, which it may: what we looked for there is then not to be had. */
import { errnoOf, StorageError } from "../errors.ts";

/** A job may do to its own directory what it likes: whatever is said there is then not heard. */
export async function unlessBlocked<T>(look: Promise<T>, nothing: T): Promise<T> {
  try {
    return await look;
  } catch (error) {
    if (!["ENOENT", "ENOTDIR", "ELOOP", "EACCES"].includes(errnoOf(error) ?? "")) throw error;
    return nothing;
  }
}

/** Something else stands where a directory of ours was, and it was the job that put it there: nothing brings it back. */
export const spoiltCodes = ["ENOTDIR", "ELOOP"];

export async function unlessSpoilt<T>(dir: string, look: Promise<T>): Promise<T> {
  try {
    return await look;
  } catch (error) {
    const code = errnoOf(error) ?? "";
    if (error instanceof StorageError || !spoiltCodes.includes(code)) throw error;
    const failure = { code, syscall: "look into", path: dir, permanent: true };
    throw new StorageError(`${dir}, or a part of it, was replaced by something else`, failure, { cause: error });
  }
}
