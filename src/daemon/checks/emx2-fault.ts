/** Why EMX2 can not be used, in the operator's words: the name, the way there, TLS, the address, the secret, the clock. */
import type { Emx2Settings } from "../../config/config.ts";
import { isLoopback } from "../../config/places.ts";
import { ApiError, type NetworkError } from "../../errors.ts";
import { type CheckItem, failed } from "./item.ts";

type Environment = Readonly<Record<string, string | undefined>>;

export function emx2Fault(error: ApiError | NetworkError, emx2: Emx2Settings, env: Environment): CheckItem {
  return error instanceof ApiError ? answerFault(error, emx2) : networkFault(error, emx2, env);
}

const certificates: Readonly<Record<string, readonly [string, string]>> = {
  CERT_HAS_EXPIRED: ["its certificate has expired", "have it renewed; see whether this host's clock is right, too"],
  CERT_NOT_YET_VALID: ["its certificate is not valid yet", "see whether this host's clock is right"],
  ERR_TLS_CERT_ALTNAME_INVALID: [
    "its certificate is for another name",
    "use in emx2.base_url the name it was made for",
  ],
  CERT_REVOKED: ["its certificate has been revoked", "tell EMX2's administrator"],
};
const untrusted = /SELF_SIGNED|UNABLE_TO_(VERIFY|GET_ISSUER)|CERT_UNTRUSTED/;

function networkFault(
  { message, failure: { code } }: NetworkError,
  { baseUrl }: Emx2Settings,
  env: Environment,
): CheckItem {
  const url = new URL(baseUrl);
  const proxy = proxyOf(url, env);
  const unlessExcepted = "correct the proxy's address, or except EMX2's host in NO_PROXY";
  const certificate = certificates[code];
  const wrong = (what: string, fix: string) => failed("EMX2", `${url.host}: ${what} (${code})`, fix);
  if (certificate) return wrong(...certificate);
  if (untrusted.test(code)) {
    return wrong("TLS: its certificate is not trusted here", "name the authority that signed it in emx2.ca_file (PEM)");
  }
  if (code === "EPROTO") return wrong("TLS: it does not speak it on this port", "correct the port in emx2.base_url");
  if (code === "ERR_PROXY_TUNNEL")
    return wrong(`the proxy ${proxy ?? ""} refuses the way there: ${message}`, unlessExcepted);
  if (/^(ENOTFOUND|EAI_\w+)$/.test(code)) {
    return proxy === undefined
      ? wrong(
          "DNS does not know this name",
          `correct emx2.base_url; \`getent hosts ${url.hostname}\` asks this host's DNS`,
        )
      : wrong(`DNS does not know the proxy ${proxy}, or this name`, unlessExcepted);
  }
  if (code === "ECONNREFUSED") {
    return proxy === undefined
      ? wrong("nothing listens there", "see whether EMX2 runs, and whether emx2.base_url has its host and port")
      : wrong(`the proxy ${proxy} is not there, or nothing listens behind it`, unlessExcepted);
  }
  return failed("EMX2", message, "see whether a firewall lets this host through, or a proxy is needed (HTTPS_PROXY)");
}

/** Host and port alone: the rest may hold a password. NO_PROXY may except EMX2's host from it. */
function proxyOf(url: URL, env: Environment): string | undefined {
  if (isLoopback(url)) return undefined;
  const { HTTPS_PROXY, https_proxy, HTTP_PROXY, http_proxy } = env;
  const proxy = url.protocol === "https:" ? HTTPS_PROXY || https_proxy : HTTP_PROXY || http_proxy;
  return proxy ? (URL.parse(proxy)?.host ?? "of the environment") : undefined;
}

function answerFault({ message, answer }: ApiError, emx2: Emx2Settings): CheckItem {
  const { status, form, clockOffsetS } = answer;
  if (clockOffsetS !== undefined) {
    const detail = `this host is ${Math.abs(clockOffsetS)} s ${clockOffsetS < 0 ? "behind" : "ahead of"} EMX2, which accepts 300 s`;
    return failed("clock", detail, "set this host's clock (chrony, ntpd); the secret may be right");
  }
  if (status === 401 || status === 403) return failed("authentication", message, credentialFix(emx2, status));
  if (status === 407) return failed("EMX2", message, "let the proxy know this host: user and password in HTTPS_PROXY");
  // EMX2 itself says 400 and 404 of an address that is beside its API.
  const notEmx2 = status < 400 || (status < 500 && (form !== "problem" || status === 400 || status === 404));
  if (notEmx2) return failed("EMX2", message, "correct emx2.base_url: what answers there is not EMX2's HPC API");
  return failed("EMX2", message, "EMX2, or a proxy before it, is in trouble: its administrator has to look");
}

function credentialFix({ authMode, secret, workerId }: Emx2Settings, status: number): string {
  const where = secret.kind === "file" ? secret.path : "the configuration";
  if (authMode === "token") {
    return status === 403
      ? "the token's user needs the right to edit EMX2's HPC data"
      : `have a new token issued at EMX2, and put it into ${where}`;
  }
  return `secret and emx2.worker_id belong together: have one issued for ${workerId} at EMX2, and put it into ${where}`;
}
