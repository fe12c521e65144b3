/** The headers of one attempt. Nothing in them may be used twice: a retry asks for them anew. */
import type { Emx2Options } from "./client.ts";
import type { ApiRequest, Upload } from "./exchange.ts";
import { sha256Hex, signature } from "./signature.ts";

const apiVersion = "2025-01";

export function requestHeaders(
  options: Emx2Options,
  request: ApiRequest,
  attempt: { readonly url: URL; readonly requestId: string; readonly traceId: string | undefined },
): Record<string, string> {
  return {
    // EMX2 breaks whatever it compresses: the body is compressed, Content-Length is not.
    "Accept-Encoding": "identity",
    ...(request.json !== undefined && { "Content-Type": "application/json" }),
    ...(request.upload && uploadHeaders(request.upload)),
    ...(request.anonymous ? {} : identity(options, request, attempt)),
  };
}

function uploadHeaders({ bytes, contentType, sha256, envelope }: Upload): Record<string, string> {
  return {
    "Content-Type": contentType,
    "Content-Length": String(bytes + (envelope ? envelope.head.length + envelope.tail.length : 0)),
    ...(sha256 !== undefined && { "Content-SHA256": sha256 }),
  };
}

function identity(
  { clock, workerId, credential }: Emx2Options,
  request: ApiRequest,
  { url, requestId, traceId }: { readonly url: URL; readonly requestId: string; readonly traceId: string | undefined },
): Record<string, string> {
  const timestamp = String(Math.floor(clock.wall() / 1_000));
  const common = {
    "X-EMX2-API-Version": apiVersion,
    "X-Request-Id": requestId,
    "X-Timestamp": timestamp,
    "X-Worker-Id": workerId,
    ...(traceId !== undefined && { "X-Trace-Id": traceId }),
  };
  if (credential.mode === "token") return { ...common, "x-molgenis-token": credential.secret() };
  const nonce = Buffer.from(clock.randomBytes(16)).toString("hex");
  // Bun's fetch sends exactly this path and query (1.4.5, checked byte by byte).
  const target = `${url.pathname}${url.search}`;
  const bodySha256 = request.upload?.sha256 ?? sha256Hex(request.json ?? "");
  const signed = { method: request.method, target, bodySha256, timestamp, nonce };
  return { ...common, "X-Nonce": nonce, Authorization: `HMAC-SHA256 ${signature(credential.secret(), signed)}` };
}
