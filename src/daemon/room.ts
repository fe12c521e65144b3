/**
 * Room for inputs before the first of them is fetched: what does not fit waits as a whole, rather than fill the disk under
 * running jobs. Counted in is what other jobs are still to fetch, so that several that come at once do not share one room.
 * What the file system says is all there is to go by: a quota may end sooner, and then the transfer waits.
 */
import { dirname } from "node:path";
import type { Job } from "../job/job.ts";
import type { JobId } from "../job/run.ts";
import type { Journal } from "../journal/journal.ts";
import { gigabytes, type Space } from "./free-space.ts";

interface RoomParts {
  jobs(): ReadonlyMap<JobId, Job>;
  readonly journal: Pick<Journal, "inputBytesFrom">;
  /** Or why it can not be told. */
  spaceIn(directory: string): Promise<Space | string>;
  readonly minFreeBytes: number;
}

type Taken =
  | { readonly is: "taken" }
  /** Not now, and never. */
  | { readonly is: "retry" | "refused"; readonly cause: string };

/** Takes room for `bytes` that are to come to the job's directory. */
export type TakeRoom = (job: Job, bytes: number) => Promise<Taken>;

export function createRoom({ jobs, journal, spaceIn, minFreeBytes }: RoomParts): TakeRoom {
  /** Of jobs that have taken it a moment ago, and do not show it yet. */
  const taken = new Map<JobId, number>();

  function toComeTo(other: Job): number {
    if (other.closed || other.stop) return 0;
    const { inputs } = other;
    if (inputs.stage === "staging") return journal.inputBytesFrom(other.id, inputs.next);
    return inputs.stage === "unlisted" ? (taken.get(other.id) ?? 0) : 0;
  }

  return async (job, bytes) => {
    if (bytes === 0) return { is: "taken" };
    const directory = dirname(job.dir);
    const space = await spaceIn(directory);
    if (typeof space === "string") return { is: "retry", cause: space };
    // From here on nothing is waited for: no other job comes in between.
    const { freeBytes, totalBytes } = space;
    const kept = minFreeBytes === 0 ? "" : `, of which worker.min_free_disk keeps ${gigabytes(minFreeBytes)}`;
    const needed = `its inputs take ${gigabytes(bytes)}`;
    if (bytes + minFreeBytes > totalBytes) {
      const cause = `${needed}: the file system of ${directory} has ${gigabytes(totalBytes)} in all${kept}`;
      return { is: "refused", cause: `${cause}; inputs of posix residence would need no room` };
    }
    for (const id of taken.keys()) if (jobs().get(id)?.inputs.stage !== "unlisted") taken.delete(id);
    const others = [...jobs().values()].filter(({ id }) => id !== job.id);
    const promised = others.reduce((sum, other) => sum + toComeTo(other), 0);
    if (bytes + minFreeBytes + promised > freeBytes) {
      const soon = promised === 0 ? "" : `, and other jobs are to fetch ${gigabytes(promised)}`;
      return { is: "retry", cause: `${needed}: ${directory} has ${gigabytes(freeBytes)} free${kept}${soon}` };
    }
    taken.set(job.id, bytes);
    return { is: "taken" };
  };
}
