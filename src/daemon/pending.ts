/**
 * What EMX2 has waiting for our profiles, oldest first. Each processor is asked about by itself, so that thousands of other
 * workers' jobs can neither hide ours nor cost much; a job may name no profile, so that lists by profile do not show it,
 * and are asked for only where the processor's is too long to be read whole.
 */
import type { Emx2Client, JobFilter, JobList, ListedJob } from "../emx2/client.ts";
import { concernsAll } from "../emx2/retry.ts";
import { ApiError } from "../errors.ts";
import type { Profile } from "../job/profile.ts";

export interface Pending {
  readonly jobs: readonly ListedJob[];
  /** One for each job that could not be read. */
  readonly warnings: readonly string[];
  /** Processors and profiles whose lists EMX2 fails to give. */
  readonly unlisted: readonly string[];
  /** Lists that are longer than what is read of them. */
  readonly tooMany: readonly string[];
}

/** With more processors than this, one list of everything is fewer requests. */
export const maxAskedProcessors = 10;
const pageSize = 500;
/** Of a list that is not in order, or of everything. */
const maxListedJobs = 5_000;

/** `maxJobs`: how many jobs of one profile are of use. */
export async function readPending(
  client: Pick<Emx2Client, "listJobs">,
  profiles: readonly Profile[],
  maxJobs: number,
  signal: AbortSignal,
): Promise<Pending> {
  const ask = (filter: Omit<JobFilter, "status">) =>
    client.listJobs({ status: "PENDING", pageSize, ...filter }, { signal });
  const reading = new Reading(ask, maxJobs);
  const byProcessor = Map.groupBy(profiles, ({ processor }) => processor);
  if (byProcessor.size > maxAskedProcessors) {
    await reading.all();
    return reading.pending();
  }
  for (const [processor, own] of byProcessor) await reading.processor(processor, own);
  return reading.pending();
}

class Reading {
  readonly #ask: (filter: Omit<JobFilter, "status">) => Promise<JobList>;
  readonly #maxJobs: number;
  readonly #jobs = new Map<string, ListedJob>();
  readonly #warnings = new Set<string>();
  readonly #failed: { readonly what: string; readonly error: ApiError }[] = [];
  readonly #tooMany: string[] = [];
  #asked = 0;

  constructor(ask: (filter: Omit<JobFilter, "status">) => Promise<JobList>, maxJobs: number) {
    this.#ask = ask;
    this.#maxJobs = maxJobs;
  }

  async all(): Promise<void> {
    const list = await this.#ask({ maxJobs: maxListedJobs });
    if (!isWhole(list)) this.#tooMany.push(`only ${maxListedJobs} are read; fewer processors a worker help`);
    this.#take(list);
  }

  async processor(processor: string, profiles: readonly Profile[]): Promise<void> {
    const head = await this.#list(processor, { processor, maxJobs: Math.max(pageSize, this.#maxJobs) });
    // 2026-02 lists in no order: which are the oldest is known of a whole list alone.
    const unordered = head && !isWhole(head) && !isOldestFirst(head.jobs);
    const list = unordered ? await this.#list(processor, { processor, maxJobs: maxListedJobs }) : head;
    if (list && isWhole(list)) return;
    if (unordered) this.#tooMany.push(`only ${maxListedJobs} of ${processor} are read, in the order that EMX2 has`);
    else if (list)
      this.#tooMany.push(
        `${processor} has more than ${list.jobs.length}: of each profile the oldest ${this.#maxJobs} are read, and of jobs without a profile those among the first ${list.jobs.length}`,
      );
    for (const { key, profile } of profiles) await this.#list(key, { processor, profile, maxJobs: this.#maxJobs });
  }

  pending(): Pending {
    const [first] = this.#failed;
    if (first && this.#jobs.size === 0 && this.#failed.length === this.#asked) throw first.error;
    return {
      jobs: [...this.#jobs.values()].sort(byAge),
      warnings: [...this.#warnings],
      unlisted: this.#failed.map(({ what, error }) => `${what} (status ${error.answer.status})`),
      tooMany: this.#tooMany,
    };
  }

  /** What EMX2 can not show of one processor or profile must not stop the others. */
  async #list(what: string, filter: Omit<JobFilter, "status">): Promise<JobList | undefined> {
    this.#asked += 1;
    try {
      const list = await this.#ask(filter);
      this.#take(list);
      return list;
    } catch (error) {
      if (!(error instanceof ApiError) || concernsAll(error)) throw error;
      this.#failed.push({ what, error });
      return undefined;
    }
  }

  #take({ jobs, warnings }: JobList): void {
    for (const job of jobs) this.#jobs.set(job.id, job);
    for (const warning of warnings) this.#warnings.add(warning);
  }
}

function isWhole({ jobs, warnings, total }: JobList): boolean {
  return jobs.length + warnings.length >= total;
}

function isOldestFirst(jobs: readonly ListedJob[]): boolean {
  return jobs.every((job, index) => index === 0 || byAge(jobs[index - 1] ?? job, job) <= 0);
}

/** Those whose age is not known come last, in the order in which they were listed. */
function byAge(a: ListedJob, b: ListedJob): number {
  const [first, second] = [a.createdAt ?? "\uffff", b.createdAt ?? "\uffff"];
  if (first === second) return 0;
  return first < second ? -1 : 1;
}
