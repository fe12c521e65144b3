/**
 * EMX2's list of jobs, read page by page. 2026-05 lists the oldest first. The pages of 2026-02 are in no order, not even the
 * same from one request to the next, so that there a list of more than one page is asked for whole.
 */
import type { Call, JobFilter, JobList, ListedJob } from "./client.ts";
import { type Exchange, get } from "./exchange.ts";
import type { Generations } from "./generation.ts";
import { cleanText } from "./problem.ts";
import { OversizedAnswer } from "./refusal.ts";
import { query } from "./url-path.ts";
import * as wire from "./wire.ts";

const defaultPageSize = 100;
const defaultMaxJobs = 10_000;

/** Jobs come and go between two pages, so one may be missed or come twice; the next poll sees it. */
export async function listJobs(
  exchange: Exchange,
  generations: Generations,
  filter: JobFilter,
  call?: Call,
): Promise<JobList> {
  const { pageSize = defaultPageSize, maxJobs = defaultMaxJobs, ...which } = filter;
  const jobs = new Map<string, ListedJob>();
  const warnings: string[] = [];
  const firstLimit = Math.min(pageSize, maxJobs);
  let limit = firstLimit;
  let askedWhole = false;
  let total = 0;
  for (let offset = 0; offset < maxJobs; ) {
    const path = `/jobs${query({ ...which, limit: Math.min(limit, maxJobs - offset), offset })}`;
    const page = await exchange.json(get(path), wire.readPage, call).catch((error) => {
      // Jobs with megabytes of parameters must not hide all others.
      if (!(error instanceof OversizedAnswer) || limit === 1) throw error;
      limit = Math.ceil(limit / 2);
    });
    if (!page) continue;
    const mayBeWhole =
      offset === 0 && !askedWhole && limit === firstLimit && limit < maxJobs && (page.total ?? 0) > page.items.length;
    if (mayBeWhole && (await generations.present(call)) === "2026-02") {
      askedWhole = true;
      limit = maxJobs;
      continue;
    }
    for (const item of page.items) readInto(jobs, warnings, item);
    offset += page.items.length;
    total = page.total ?? offset;
    // Without a total, only a page that is not full is known to be the last.
    const last = page.total === null ? page.items.length < limit : offset >= page.total;
    if (last || page.items.length === 0) break;
  }
  return { jobs: [...jobs.values()], total, warnings };
}

function readInto(jobs: Map<string, ListedJob>, warnings: string[], item: string): void {
  try {
    const job = wire.readListedJob(item);
    jobs.set(job.id, job);
  } catch (cause) {
    warnings.push(unreadableJob(item, cause));
  }
}

function unreadableJob(item: string, cause: unknown): string {
  const reason = cause instanceof Error ? cause.message : String(cause);
  // Nothing else of it: parameters are nobody's business here.
  const [, id = "of no such id"] = /"id"\s*:\s*"([0-9a-f-]{36})"/.exec(item) ?? [];
  return `a job of EMX2's list (${id}) cannot be read and is left alone: ${cleanText(reason, 200)}`;
}
