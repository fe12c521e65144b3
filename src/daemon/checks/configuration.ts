/** The configuration and the secret: what was accepted with a remark, and what is safer here than in the Python daemon. */
import type { Config } from "../../config/config.ts";
import { readSecret } from "../../config/secret.ts";
import { ConfigError, formatProblem } from "../../errors.ts";
import type { Profile } from "../../job/profile.ts";
import { type CheckItem, failed, listed, ok, warning } from "./item.ts";

/** `written`: the file's own data, to tell what it says from what is a default. */
export function checkConfiguration(config: Config, written: unknown): CheckItem[] {
  const remarks = config.warnings.map(({ message, hint, ...where }) =>
    warning("configuration", formatProblem({ ...where, message }), hint ?? "put it right in the configuration"),
  );
  const { profiles } = config;
  const none = failed("configuration", "there is no profile, so no job is ever claimed", "add one under profiles");
  const loaded = profiles.length === 0 ? none : ok("configuration", `${config.file}, ${profiles.length} profile(s)`);
  return [loaded, ...remarks, ...saferDefaults(config, written)];
}

/** What a job could do under the Python daemon and can not do here, as long as the file does not say which it shall be. */
function* saferDefaults({ profiles, apptainer }: Config, written: unknown): Generator<CheckItem> {
  const item = "older jobs";
  const unsaid = (key: string, which: (profile: Profile) => boolean) =>
    profiles.filter((each) => which(each) && !says(written, ["profiles", each.key, key])).map((each) => each.key);
  const isHost = ({ workload }: Profile) => workload.kind === "host";

  const closed = unsaid("allowed_environment", isHost);
  if (closed.length > 0) {
    const detail = `parameters.environment is refused by the host programs of ${listed(closed)}`;
    yield ok(item, `${detail}; allowed_environment: [NAME, …] in the profile lets a job set what it names`);
  }
  const contained = unsaid("isolation", (profile) => !isHost(profile));
  if (contained.length > 0) {
    const detail = `containers of ${listed(contained)} do not see this host's home, /tmp and working directory`;
    yield ok(item, `${detail}; isolation: host in the profile mounts them again`);
  }
  const readOnly = apptainer.binds.filter(({ writable }) => !writable).map(({ source }) => source);
  if (readOnly.length > 0 && !profiles.every(isHost)) {
    const detail = `containers can not write to ${listed(readOnly)}`;
    yield ok(item, `${detail}; SOURCE:DESTINATION:rw in apptainer.bind_paths lets them`);
  }
}

function says(written: unknown, path: readonly string[]): boolean {
  let at = written;
  for (const key of path) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, key)) return false;
    at = Reflect.get(at, key);
  }
  return true;
}

export function checkSecret(config: Config): CheckItem[] {
  const item = "secret";
  const { secret: source, authMode } = config.emx2;
  const items: CheckItem[] = [];
  try {
    const secret = readSecret(source, ({ message, hint }) => {
      items.push(warning(item, message, hint ?? "let nobody else read it"));
    });
    const odd = otherMode(secret.reveal(), authMode);
    if (odd !== undefined) items.push(odd);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const usual = "name the file with this worker's secret in emx2.worker_secret_file";
    return error.problems.map(({ message, hint }) => failed(item, message, hint ?? usual));
  }
  const where = source.kind === "inline" ? "in the configuration itself" : source.path;
  return [...items, ok(item, `${where} (${authMode})`)];
}

/** EMX2's tokens are JSON web tokens, its workers' secrets begin with `emx2hpc_`. */
function otherMode(value: string, authMode: "hmac" | "token"): CheckItem | undefined {
  if (authMode === "hmac" && /^eyJ[\w-]+\.[\w-]+\.[\w-]*$/.test(value))
    return warning("secret", "it looks like an EMX2 token, and is used as a secret", "set emx2.auth_mode: token");
  if (authMode === "token" && value.startsWith("emx2hpc_"))
    return warning("secret", "it looks like a worker's secret, and is used as a token", "set emx2.auth_mode: hmac");
  return undefined;
}
