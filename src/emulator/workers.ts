/** Workers: registration, which replaces all capabilities, the heartbeat, and deletion. */
import { type Answer, json, nothing } from "./answer.ts";
import { freshDateTime, storedDateTime } from "./date-times.ts";
import type { Call } from "./exchange.ts";
import { type JsonBody, readJson } from "./json-body.ts";
import { badRequest, forbidden, notFound } from "./refusals.ts";
import type { Capability } from "./state.ts";

export async function register(call: Call): Promise<Answer> {
  const body = await readJson(call);
  const id = actingWorker(call, body);
  if (id === null) throw badRequest("worker_id is required");
  const hostname = body.text("hostname");
  const capabilities = readCapabilities(body.value("capabilities"));
  const { workers } = call.state;
  const { workerCredentials, linksHeartbeat } = call.state.settings.generation;
  const known = workers.get(id);
  const registeredAt = known?.registeredAt ?? call.now;
  // Who has a credential was registered when it was issued.
  const isFirst = known === undefined && !workerCredentials;
  workers.set(id, { id, hostname, capabilities, registeredAt, lastHeartbeatAt: call.now });
  return json(200, {
    worker_id: id,
    hostname,
    registered_at: (isFirst ? freshDateTime : storedDateTime)(registeredAt),
    last_heartbeat_at: freshDateTime(call.now),
    _links: {
      self: { href: `/api/hpc/workers/${id}`, method: "GET" },
      heartbeat: { href: `/api/hpc/workers/${linksHeartbeat ? `${id}/heartbeat` : "register"}`, method: "POST" },
      jobs: { href: "/api/hpc/jobs?status=PENDING", method: "GET" },
    },
  });
}

export function heartbeat(call: Call): Answer {
  const { worker: id } = call.params;
  const { workerId } = call.principal;
  const { checksWorkers } = call.state.settings.generation;
  if (checksWorkers && workerId !== null && workerId !== id)
    throw badRequest("X-Worker-Id header must match worker id in path");
  const worker = call.state.workers.get(id);
  if (checksWorkers && worker === undefined) throw notFound(`Worker ${id} not found`);
  if (worker) worker.lastHeartbeatAt = call.now;
  return json(200, { worker_id: id, status: "ok" });
}

/** Where each worker has a secret of its own, this is for those who issue it. */
export function deleteWorker({ state, principal, params }: Call): Answer {
  if (state.settings.generation.workerCredentials && principal.kind === "worker")
    throw forbidden("Worker principal is not allowed on credential-management endpoints");
  state.workers.delete(params.worker);
  return nothing(204);
}

/** The worker on whose behalf a call is made: of the header, else of the body. They must not disagree. */
export function actingWorker(call: Call, body: JsonBody): string | null {
  const named = body.text("worker_id");
  const { workerId } = call.principal;
  if (!call.state.settings.generation.checksWorkers) return named;
  if (named !== null && workerId !== null && named !== workerId) {
    throw badRequest("worker_id in request body must match X-Worker-Id header");
  }
  return workerId ?? named;
}

function readCapabilities(value: unknown): Capability[] {
  if (!Array.isArray(value)) return [];
  return value.map((entry: { processor?: unknown; profile?: unknown; max_concurrent_jobs?: unknown } | null) => {
    const { processor, profile, max_concurrent_jobs: limit } = entry ?? {};
    return {
      processor: String(processor),
      profile: typeof profile === "string" ? profile : null,
      maxConcurrentJobs: typeof limit === "number" ? limit : null,
    };
  });
}
