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

/** The host, and why nothing can be sent to it; then what to do. */
type Words = (host: string) => string;

const refused: Words = (host) => `${host} refuses connections; check emx2.base_url, and that EMX2 is running`;
const unknownName: Words = (host) =>
  `the name of ${host} cannot be resolved; check emx2.base_url, and the name service of this host`;
const unreachable: Words = (host) =>
  `there is no way from this network to ${host}; check emx2.base_url, routes and firewalls, and whether a proxy (HTTPS_PROXY) is needed`;
const untrusted: Words = (host) =>
  `the certificate of ${host} comes from an authority that this host does not trust; name the authority's certificate in emx2.ca_file`;
const outOfDate: Words = (host) =>
  `the certificate of ${host} is not valid at this time; have it renewed, and check this host's clock`;
const withdrawn: Words = (host) => `the certificate of ${host} was withdrawn; ask those who run EMX2`;
const otherName: Words = (host) =>
  `the certificate is not for ${host}; use in emx2.base_url the name that EMX2's certificate has`;
const proxy: Words = (host) => `the proxy (HTTPS_PROXY) does not let us through to ${host}; check it, or set NO_PROXY`;

/** Failures before the first byte of a request was sent; all others may have come after the last. */
const undelivered: ReadonlyMap<string, Words> = new Map([
  ["ECONNREFUSED", refused],
  ["ENOTFOUND", unknownName],
  ["EAI_AGAIN", unknownName],
  ["EAI_FAIL", unknownName],
  ["EAI_NODATA", unknownName],
  ["ENETUNREACH", unreachable],
  ["EHOSTUNREACH", unreachable],
  ["ERR_PROXY_TUNNEL", proxy],
  ["UNABLE_TO_VERIFY_LEAF_SIGNATURE", untrusted],
  ["UNABLE_TO_GET_ISSUER_CERT", untrusted],
  ["UNABLE_TO_GET_ISSUER_CERT_LOCALLY", untrusted],
  ["SELF_SIGNED_CERT_IN_CHAIN", untrusted],
  ["DEPTH_ZERO_SELF_SIGNED_CERT", untrusted],
  ["CERT_UNTRUSTED", untrusted],
  ["CERT_HAS_EXPIRED", outOfDate],
  ["CERT_NOT_YET_VALID", outOfDate],
  ["CERT_REVOKED", withdrawn],
  ["ERR_TLS_CERT_ALTNAME_INVALID", otherName],
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
  const known = undelivered.get(code);
  const why = known ? `${known(url.host)} (${code})` : asTold(cause, code, words);
  return new NetworkError(
    `no answer from ${url.host} to ${method} ${path}: ${why}`,
    { code, method, path, maybeDelivered: known === undefined && !/TLS handshake failed/.test(words) },
    { cause },
  );
}

function asTold(cause: unknown, code: string, words: string): string {
  // Bun's advice to its own users says nothing to ours.
  const message = cleanText(words.replace(/ For more information, pass `verbose.*$/s, ""), 200);
  return message.includes(code) || cause instanceof IdleError ? message : `${code}: ${message}`;
}

function codeOf(cause: unknown): string {
  if (!(cause instanceof Error)) return "UNKNOWN";
  return "code" in cause && typeof cause.code === "string" ? cause.code : cause.name;
}
