/** Jobs as submitters and readers see them: create, list, read, cancel, delete, audit trail. */
import { isTerminal } from "../job/status.ts";
import { type Answer, json, nothing } from "./answer.ts";
import type { Call } from "./exchange.ts";
import { jobOf, markCancelled, storeJob } from "./job-store.ts";
import { jobLinks, jobView, transitionView } from "./job-view.ts";
import { readJson } from "./json-body.ts";
import { page } from "./page.ts";
import { badRequest, conflict, forbidden } from "./refusals.ts";
import { type EmulatorState, roles, type StoredJob } from "./state.ts";

export async function createJob(call: Call): Promise<Answer> {
  const body = await readJson(call);
  const processor = body.text("processor");
  if (!processor) throw badRequest("processor is required");
  const { state } = call;
  const inputs = body.value("inputs");
  const job = storeJob(state, call.now, {
    processor,
    profile: body.text("profile"),
    submitUser: submitUser(call),
    parametersText: body.source("parameters"),
    inputs,
    timeoutSeconds: body.integer("timeout_seconds"),
  });
  return json(201, { id: job.id, status: job.status, _links: jobLinks(job) });
}

function submitUser({ principal, state }: Call): string | null {
  if (!state.settings.generation.knowsUsers) return null;
  return principal.kind === "user" ? principal.name : principal.workerId;
}

/** Oldest first, where the generation has an order, of one status; a status that does not exist has no jobs. */
export function listJobs(call: Call): Answer {
  const { query, state } = call;
  const status = query.get("status") ?? "PENDING";
  const processor = query.get("processor");
  const profile = query.get("profile");
  const found = [...state.jobs.values()].filter(
    (job) =>
      job.status === status &&
      (processor === null || job.processor === processor) &&
      (profile === null || job.profile === profile),
  );
  const { limit, offset, of } = page(state.settings.generation, query);
  const items = of(ordered(state, found)).map((job) => jobView(state, job));
  const list = { items, count: items.length, total_count: found.length, limit, offset };
  const _links = { self: { href: "/api/hpc/jobs", method: "GET" } };
  return json(200, { ...list, _links }, { "x-total-count": String(found.length) });
}

/** Without an order each list begins somewhere else, so that pages of one look overlap and leave gaps. */
function ordered(state: EmulatorState, jobs: readonly StoredJob[]): readonly StoredJob[] {
  if (state.settings.generation.listsInOrder) return jobs;
  const shift = (state.seen.lists++ * 7) % Math.max(1, jobs.length);
  return [...jobs.slice(shift), ...jobs.slice(0, shift)].reverse();
}

export function readJob(call: Call): Answer {
  return json(200, jobView(call.state, jobOf(call)));
}

export function listTransitions(call: Call): Answer {
  const job = call.state.jobs.get(call.params.id);
  const items = (job?.transitions ?? []).map((transition) => transitionView(call.state, call.params.id, transition));
  return json(200, { items, count: items.length });
}

/** A job that is already cancelled stays so; one that ended otherwise can not be. */
export function cancelJob(call: Call): Answer {
  const { state, principal } = call;
  const job = jobOf(call);
  const isManager = principal.kind === "user" && roles.indexOf(principal.role) >= roles.indexOf("manager");
  const { knowsUsers } = state.settings.generation;
  if (knowsUsers && principal.kind === "user" && !isManager && principal.name !== job.submitUser) {
    throw forbidden("Only the job submitter or a manager can cancel this job");
  }
  if (job.status === "CANCELLED") return json(200, jobView(state, job));
  if (isTerminal(job.status)) throw conflict(`Job ${job.id} cannot be cancelled from status ${job.status}`);
  markCancelled(state, job, call.now, principal.kind === "user" ? principal.name : (principal.workerId ?? "unknown"));
  return json(200, jobView(state, job, new Set(["completedAt"])));
}

export function deleteJob(call: Call): Answer {
  const job = jobOf(call);
  if (call.state.settings.generation.protectsLiveJobs && !isTerminal(job.status)) {
    const reason = `Cannot delete job ${job.id} in non-terminal status ${job.status}. Cancel it first.`;
    throw conflict(`Transaction failed: ${reason}`);
  }
  call.state.jobs.delete(job.id);
  return nothing(204);
}
