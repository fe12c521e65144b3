/** How requests leave this host, and what it means when they do not come back. */
import tls from "node:tls";
import { isLoopback } from "../config/places.ts";
import { NetworkError } from "../errors.ts";
import type { Emx2Options, FetchInit } from "./client.ts";
import { IdleError } from "./idle.ts";
import { cleanText } from "./problem.ts";

export function connectionInit({ baseUrl, ca }: Emx2Options): Partial<FetchInit> {
  return {
    // Bun would end every request after 360 s; the idle watchdog is our limit.
    timeout: false,
    // Bun asks HTTP_PROXY for loopback hosts too, where no proxy can reach what is meant.
    ...(isLoopback(new URL(baseUrl)) && { proxy: false }),
    ...(ca !== undefined && { tls: { ca: [...systemAuthorities(), ca] } }),
  };
}

/** `tls.ca` replaces the system's authorities, SSL_CERT_FILE and NODE_EXTRA_CA_CERTS (Bun 1.4.5), so they are named here. */
function systemAuthorities(): Set<string> {
  return new Set([...tls.getCACertificates("default"), ...tls.getCACertificates("system")]);
}

/** Failures before the first byte of a request was sent; all others may have come after the last. */
const undelivered = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EAI_FAIL",
  "EAI_NODATA",
  "ENETUNREACH",
  "EHOSTUNREACH",
  "ERR_PROXY_TUNNEL",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "CERT_HAS_EXPIRED",
  "CERT_NOT_YET_VALID",
  "CERT_REVOKED",
  "CERT_UNTRUSTED",
  "ERR_TLS_CERT_ALTNAME_INVALID",
]);

/** What to throw for whatever fetch or a body threw; the caller's own reason where it was the caller who ended it. */
export function networkFault(
  cause: unknown,
  { method, url }: { readonly method: string; readonly url: URL },
  caller: AbortSignal | undefined,
): unknown {
  if (caller?.aborted) return caller.reason;
  const words = cause instanceof Error ? cause.message : String(cause);
  const code = codeOf(cause);
  const path = url.pathname;
  // Bun's advice to its own users says nothing to ours.
  const message = cleanText(words.replace(/ For more information, pass `verbose.*$/s, ""), 200);
  return new NetworkError(
    `no answer from ${url.host} to ${method} ${path}: ${message.includes(code) || cause instanceof IdleError ? message : `${code}: ${message}`}`,
    { code, method, path, maybeDelivered: !undelivered.has(code) && !/TLS handshake failed/.test(words) },
    { cause },
  );
}

function codeOf(cause: unknown): string {
  if (!(cause instanceof Error)) return "UNKNOWN";
  return "code" in cause && typeof cause.code === "string" ? cause.code : cause.name;
}
