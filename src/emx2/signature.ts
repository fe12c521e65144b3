/**
 * The signature of a request in HMAC mode: SHA-256 over five lines, keyed with the worker's secret. The target is
 * signed as it stands on the wire, so nothing may rewrite the URL after this. Source: EMX2's HPC API version 2025-01.
 */
import { createHash, createHmac } from "node:crypto";

interface SignedParts {
  /** Upper case. */
  readonly method: string;
  /** Path and, if any, `?query`, percent-encoded as sent; without scheme and host. */
  readonly target: string;
  /** Lower-case hex: the hash of the body (of nothing where there is none), or `Content-SHA256` on a binary PUT. */
  readonly bodySha256: string;
  /** Unix time in whole seconds. */
  readonly timestamp: string | number;
  readonly nonce: string;
}

/** Lower-case hex, for `Authorization: HMAC-SHA256 <hex>`. */
export function signature(secret: string, request: SignedParts): string {
  const lines = [request.method, request.target, request.bodySha256, request.timestamp, request.nonce];
  return createHmac("sha256", secret).update(lines.join("\n")).digest("hex");
}

export function sha256Hex(bytes: Uint8Array | string): string {
  return createHash("sha256").update(bytes).digest("hex");
}
