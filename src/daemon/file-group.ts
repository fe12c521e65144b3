/**
 * A group of a job's files on its way: several at once, each in a slot of the transfer pool, whose slots all jobs share. The
 * first that fails starts no further one, so that what may have to be moved again is never more than a group.
 */
import type { FileRow, MovedFiles } from "../job/effect.ts";
import type { JobId } from "../job/run.ts";
import type { Pool, Task } from "./pools.ts";

export type MoveEnd =
  | { readonly is: "ok" }
  | { readonly is: "retry"; readonly cause: string; readonly notTaken: true }
  | { readonly is: "refused"; readonly cause: string; readonly status?: number; readonly oddName?: true };

export interface Slots {
  readonly pool: Pick<Pool, "add">;
  /** As many of one job wait for a slot at once: with more, jobs that come later would wait for them all. */
  readonly perJob: number;
}

/** Files from the first on that arrived; where that one did not, how it ended, or what it threw. */
export async function moveGroup(
  jobId: JobId,
  rows: readonly FileRow[],
  { pool, perJob }: Slots,
  signal: AbortSignal,
  move: (row: FileRow) => Promise<MoveEnd>,
): Promise<{ readonly is: "ok"; readonly value: MovedFiles } | Exclude<MoveEnd, { is: "ok" }>> {
  const ends: (MoveEnd | { readonly is: "fault"; readonly error: unknown })[] = [];
  let next = 0;
  let failed = false;
  const moveOn = async () => {
    for (let row = rows[next]; row !== undefined && !failed; row = rows[next]) {
      const at = next;
      next += 1;
      const moving = row;
      ends[at] = await inSlot(pool, { jobId, bytes: row.bytes, alone: sharedPlace(row) }, signal, () =>
        move(moving),
      ).catch((error: unknown) => {
        return { is: "fault", error } as const;
      });
      if (ends[at]?.is !== "ok") failed = true;
    }
  };
  await Promise.all(Array.from({ length: Math.min(perJob, rows.length) }, moveOn));
  const unmoved = rows.findIndex((_row, at) => ends[at]?.is !== "ok");
  const moved = unmoved === -1 ? rows : rows.slice(0, unmoved);
  if (moved.length > 0) {
    const bytes = moved.reduce((sum, row) => sum + row.bytes, 0);
    return { is: "ok", value: { files: moved.length, bytes } };
  }
  const [first] = ends;
  if (first?.is === "refused" || first?.is === "retry") return first;
  throw first?.is === "fault" ? first.error : new Error(`job ${jobId} has no file to move`);
}

/** Where other jobs may read the same file: the second then finds known what the first has read. */
function sharedPlace({ directory, diskPath, path }: FileRow): string | undefined {
  return directory.startsWith("/") ? `${directory}/${diskPath ?? path}` : undefined;
}

function inSlot<T>(
  pool: Slots["pool"],
  task: Omit<Task, "start">,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) return onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    pool.add({
      ...task,
      start() {
        if (signal.aborted) return undefined;
        signal.removeEventListener("abort", onAbort);
        return work().then(resolve, reject);
      },
    });
  });
}
