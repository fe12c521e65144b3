/** Each way in which EMX2 can not be used has its own words and its own fix. */
import { expect, test } from "bun:test";
import type { Emx2Settings } from "../../../../src/config/config.ts";
import { emx2Fault } from "../../../../src/daemon/checks/emx2-fault.ts";
import { ApiError, NetworkError, type RefusalForm } from "../../../../src/errors.ts";

const emx2: Emx2Settings = {
  baseUrl: "https://emx2.example.org",
  workerId: "w1",
  authMode: "hmac",
  secret: { kind: "file", path: "/home/ann/secret" },
  unknownJobsWaitMs: null,
};
const at = { method: "GET", path: "/api/hpc/health" };
const proxied = { HTTPS_PROXY: "http://ann:word@proxy.example.org:3128" };

const network = (code: string) => new NetworkError("no answer from emx2", { ...at, code, maybeDelivered: false });
const answered = (status: number, more: { form?: RefusalForm; clockOffsetS?: number } = {}) =>
  new ApiError(`EMX2 answered ${status}`, { ...at, status, ...more });

const cases: readonly (readonly [string, ApiError | NetworkError, Record<string, string>, RegExp])[] = [
  ["a name", network("ENOTFOUND"), {}, /^EMX2: emx2\.example\.org: DNS .*getent hosts emx2/],
  ["a proxy's name", network("ENOTFOUND"), proxied, /DNS does not know the proxy proxy\.example\.org:3128.*NO_PROXY/],
  ["a port", network("ECONNREFUSED"), {}, /nothing listens there.*host and port/],
  ["a proxy's port", network("ECONNREFUSED"), proxied, /the proxy proxy\.example\.org:3128 is not there.*NO_PROXY/],
  ["a proxy's refusal", network("ERR_PROXY_TUNNEL"), proxied, /refuses the way there/],
  ["an unknown authority", network("DEPTH_ZERO_SELF_SIGNED_CERT"), {}, /not trusted here.*emx2\.ca_file/],
  ["an expired certificate", network("CERT_HAS_EXPIRED"), {}, /expired.*renewed/],
  ["another host's certificate", network("ERR_TLS_CERT_ALTNAME_INVALID"), {}, /another name.*base_url/],
  ["a port without TLS", network("EPROTO"), {}, /TLS: it does not speak it.*port/],
  ["silence", network("IdleError"), {}, /firewall/],
  ["a clock", answered(401, { clockOffsetS: -600 }), {}, /^clock: this host is 600 s behind EMX2.*chrony/],
  ["a secret", answered(401, { form: "problem" }), {}, /^authentication: .*issued for w1 .*\/home\/ann\/secret/],
  ["a missing right", answered(403, { form: "problem" }), {}, /^authentication: /],
  ["a page of something else", answered(200), {}, /^EMX2: .*correct emx2\.base_url/],
  ["a redirect", answered(302), {}, /correct emx2\.base_url/],
  ["a path that is not there", answered(404, { form: "errors" }), {}, /correct emx2\.base_url/],
  ["a proxy that asks who we are", answered(407), {}, /user and password in HTTPS_PROXY/],
  ["a gateway", answered(502), {}, /its administrator has to look/],
];

test.each(cases)("%s", (_, error, env, line) => {
  const { item, result, detail, fix = "" } = emx2Fault(error, emx2, env);
  expect(result).toBe("failed");
  expect(`${item}: ${detail} / ${fix}`).toMatch(line);
  expect(detail + fix).not.toContain("ann:word");
});

test("a token is issued anew, and needs a right", () => {
  const token = { ...emx2, authMode: "token" } as const;
  expect(emx2Fault(answered(401), token, {}).fix).toContain("have a new token issued");
  expect(emx2Fault(answered(403), token, {}).fix).toContain("the right to edit");
});
