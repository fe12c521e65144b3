/**
 * Who sends a request. First the headers that every request carries, refused without naming the request; then either the
 * worker's signature (`Authorization`, which a good token does not rescue once it is there) or a token.
 */
import { sha256Hex, signature } from "../emx2/signature.ts";
import type { Exchange } from "./exchange.ts";
import { FrameworkRefusal, forbidden, Refusal } from "./refusals.ts";
import { type Role, roles } from "./state.ts";

/** `workerId`: a worker's own id, or the one that a user names in `X-Worker-Id`. */
export type Principal =
  | { readonly kind: "worker"; readonly workerId: string | null }
  | { readonly kind: "user"; readonly workerId: string | null; readonly name: string; readonly role: Role };

export const uuidShape = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

const apiVersion = "2025-01";
const maxDriftS = 300;
/** JSON bodies are read to check their signature; the web framework refuses longer ones. */
const maxSignedJsonBytes = 10_000_000;

export function checkHeaders(exchange: Exchange): void {
  const { headers } = exchange;
  const { refusesAsProblem } = exchange.state.settings.generation;
  const badRequest = (detail: string) => headerRefusal(exchange, 400, "Bad Request", detail);
  const version = headers.get("x-emx2-api-version");
  if (version === null) throw badRequest(`Missing required header X-EMX2-API-Version; expected ${apiVersion}`);
  if (version !== apiVersion) {
    const support = `this server supports ${apiVersion}. Update your daemon.`;
    throw badRequest(`Unsupported API version '${version}'; ${support}`);
  }
  const requestId = headers.get("x-request-id");
  if (requestId === null) throw badRequest("Missing required header: X-Request-Id");
  if (refusesAsProblem && !uuidShape.test(requestId)) throw badRequest("Invalid X-Request-Id format: expected UUID");
  const timestamp = headers.get("x-timestamp");
  if (timestamp === null) throw badRequest("Missing required header: X-Timestamp");
  if (refusesAsProblem && !/^-?\d+$/.test(timestamp))
    throw badRequest("Invalid X-Timestamp format: expected unix epoch seconds");
}

function headerRefusal(exchange: Exchange, status: number, title: string, detail: string): Error {
  const { refusesAsProblem } = exchange.state.settings.generation;
  return refusesAsProblem ? new Refusal(status, title, detail) : new FrameworkRefusal(status, detail);
}

export async function authenticate(exchange: Exchange): Promise<Principal> {
  const principal = await principalOf(exchange);
  exchange.state.seen.authenticated = true;
  return principal;
}

async function principalOf(exchange: Exchange): Promise<Principal> {
  const { state, headers, path } = exchange;
  const { refusesAsProblem } = state.settings.generation;
  const unauthorized = (detail: string) => headerRefusal(exchange, 401, "Unauthorized", detail);
  if (headers.has("authorization")) return { kind: "worker", workerId: await verify(exchange) };
  const token = headers.get("x-molgenis-token");
  if (token === null) {
    const ways = "Missing authentication: provide Authorization (HMAC), x-molgenis-token, or sign in";
    throw unauthorized(refusesAsProblem ? ways : "Missing authentication credentials");
  }
  const user = state.tokens.get(token);
  if (user === undefined) {
    const prefix = refusesAsProblem ? `JWT auth failed at ${path}: ` : "";
    throw unauthorized(`${prefix}Cannot parse token`);
  }
  return { kind: "user", workerId: headers.get("x-worker-id"), ...user };
}

export function requireRole(principal: Principal, role: "viewer" | "editor"): void {
  if (principal.kind === "worker" || roles.indexOf(principal.role) >= roles.indexOf(role)) return;
  throw forbidden(`Requires ${role === "viewer" ? "Viewer" : "Editor"} privilege on HPC resources`);
}

/** The worker in whose name the request was signed. Where all share one secret that is whoever they say they are. */
async function verify(exchange: Exchange): Promise<string | null> {
  const { state, headers, path, method, target } = exchange;
  const { generation, sharedSecret } = state.settings;
  const prefix = generation.refusesAsProblem ? `HMAC auth failed at ${path}: ` : "";
  const failed = (why: string) => headerRefusal(exchange, 401, "Unauthorized", prefix + why);

  const claimed = /^HMAC-SHA256 (\S+)\s*$/.exec(headers.get("authorization") ?? "")?.[1];
  if (claimed === undefined) throw failed("Missing or invalid Authorization header");
  const workerId = headers.get("x-worker-id");
  if (workerId === null && generation.workerCredentials) throw failed("Missing X-Worker-Id header");
  const nonce = headers.get("x-nonce");
  if (nonce === null && generation.workerCredentials) throw failed("Missing X-Nonce header");
  const timestamp = headers.get("x-timestamp") ?? "";
  if (!/^-?\d+$/.test(timestamp)) throw failed("Invalid X-Timestamp format");
  const driftS = Math.floor(exchange.now / 1_000) - Number(timestamp);
  if (Math.abs(driftS) > maxDriftS) {
    throw failed(`Request timestamp too far from server time (drift: ${driftS}s)`);
  }
  if (generation.noncesAreBurnt && nonce !== null) {
    if (state.seen.nonces.has(nonce)) throw failed("Duplicate nonce (possible replay attack)");
    state.seen.nonces.add(nonce);
  }
  const secret = generation.workerCredentials ? state.credentials.get(workerId ?? "") : (sharedSecret ?? undefined);
  if (secret === undefined) throw failed(`No active credential for worker ${workerId}`);
  const bodySha256 = await signedBodyHash(exchange);
  if (bodySha256 === null) throw failed("Content-SHA256 header is required for non-JSON request bodies");
  const right = signature(secret, { method, target, bodySha256, timestamp, nonce: nonce ?? "" });
  if (right !== claimed || nonce === null) throw failed("HMAC signature mismatch");
  return workerId;
}

/** JSON is hashed as the text it decodes to, so that bytes which are not in its charset never match. null: no hash. */
async function signedBodyHash(exchange: Exchange): Promise<string | null> {
  const type = exchange.headers.get("content-type")?.toLowerCase() ?? "";
  const declared = exchange.headers.get("content-sha256");
  const isJson = type.startsWith("application/json");
  if (!isJson && !exchange.state.settings.generation.contentHashIsSigned) return sha256Hex("");
  if (!isJson && declared !== null) return declared;
  const bytes = await exchange.body();
  if (!isJson) return bytes.length > 0 ? null : sha256Hex("");
  if (bytes.length > maxSignedJsonBytes) throw new FrameworkRefusal(413, "Content Too Large");
  const latin1 = /charset=iso-8859-1/.test(type);
  return sha256Hex(new TextDecoder(latin1 ? "iso-8859-1" : "utf-8").decode(bytes));
}
