/**
 * An EMX2 HPC server, of either generation, as one function from a request to a response, faithful down to its
 * refusals. Nothing but the state is changed. The order of checks is the server's: headers, authentication, route, role,
 * the form of ids in the path, and then what the endpoint itself asks.
 */
import { type Answer, json, nothing, toResponse } from "./answer.ts";
import { authenticate, checkHeaders, requireRole, uuidShape } from "./authentication.ts";
import { type Exchange, openExchange } from "./exchange.ts";
import { badRequest, FrameworkRefusal, frameworkError, problem, Refusal } from "./refusals.ts";
import { findRoute } from "./routes.ts";
import type { EmulatorState } from "./state.ts";

/**
 * `now`: wall clock in milliseconds. `target`: path and query as they stood on the wire, which the signature covers; a
 * Request has them only as the URL rules rewrite them (`..` and `%2e%2e` are resolved, a backslash becomes a slash).
 */
export async function handle(
  state: EmulatorState,
  request: Request,
  now: number,
  target: string = targetOf(request.url),
): Promise<Response> {
  if (headerBytes(request.headers) > maxHeaderBytes) return headersTooLarge();
  const exchange = openExchange(state, request, target, now);
  const response = toResponse(await answer(exchange), request.headers.get("accept-encoding"));
  response.headers.set("x-trace-id", request.headers.get("x-trace-id") ?? state.uuid());
  response.headers.set("date", new Date(now).toUTCString());
  return response;
}

async function answer(exchange: Exchange): Promise<Answer> {
  let requestId: string | undefined;
  try {
    if (isHealth.test(exchange.path)) return health(exchange);
    if (!exchange.state.settings.hpcEnabled) throw new Refusal(503, "Service Unavailable", "HPC is not enabled");
    checkHeaders(exchange);
    requestId = exchange.requestId;
    const principal = await authenticate(exchange);
    const { generation } = exchange.state.settings;
    const { route, params } = findRoute(generation, exchange.method, exchange.path);
    if (generation.knowsUsers) requireRole(principal, route.role);
    if (params.id !== "" && !uuidShape.test(params.id)) throw badRequest("id must be a valid UUID format");
    return await route.run({ ...exchange, principal, params });
  } catch (error) {
    if (error instanceof FrameworkRefusal) return frameworkError(error);
    if (error instanceof Refusal) return problem(error, requestId);
    throw error;
  }
}

const isHealth = /^\/+api\/+hpc\/+health\/?$/;

function health({ method, path, state }: Exchange): Answer {
  if (method === "HEAD") return nothing(200);
  if (method !== "GET") throw new FrameworkRefusal(404, `Endpoint ${method} ${path} not found`);
  const { hpcEnabled, generation } = state.settings;
  if (!generation.workerCredentials) {
    const enabled = hpcEnabled && state.seen.authenticated;
    return json(200, { status: "ok", api_version: "2025-01", hpc_enabled: enabled, database: "connected" });
  }
  return json(200, {
    status: "ok",
    api_version: "2025-01",
    hpc_enabled: hpcEnabled,
    hpc_initialized: hpcEnabled,
    worker_auth_mode: "per-worker-hmac",
    credentials_key_configured: true,
    database: "connected",
  });
}

function targetOf(url: string): string {
  return url.replace(/^[a-z]+:\/\/[^/]*/, "");
}

const maxHeaderBytes = 8_192;

function headerBytes(headers: Headers): number {
  let bytes = 0;
  for (const [name, value] of headers) bytes += name.length + value.length + 4;
  return bytes;
}

function headersTooLarge(): Response {
  const body = "<h1>Bad Message 431</h1><pre>reason: Request Header Fields Too Large</pre>";
  const headers = { "content-type": "text/html;charset=iso-8859-1", connection: "close" };
  return new Response(body, { status: 431, headers: { ...headers, "content-length": String(body.length) } });
}
