/** The EMX2 client that a configuration asks for. */
import { readFileSync } from "node:fs";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { createClient, type Emx2Client, type Emx2Options } from "../emx2/client.ts";
import { ConfigError, isSystemError, meaningOf } from "../errors.ts";
import type { Log } from "../log.ts";
import { createSecretReader } from "./secret-reader.ts";

/** Throws ConfigError where the secret or the authorities can not be used. `own`: what the caller wants otherwise. */
export function clientOf(
  config: Pick<Config, "emx2" | "file">,
  clock: Clock,
  log: Log,
  own: Pick<Emx2Options, "fetch" | "idleTimeoutMs" | "onClockOffset"> = {},
): Emx2Client {
  const { baseUrl, workerId, authMode, caFile } = config.emx2;
  let told: number | undefined;
  return createClient({
    baseUrl,
    workerId,
    clock,
    credential: { mode: authMode, secret: createSecretReader(config.emx2.secret, clock, log) },
    ...(caFile === undefined ? {} : { ca: authorities(caFile, config.file) }),
    onAttempt({ method, path, ...fields }) {
      log.debug(`${method} ${path}`, fields);
    },
    onClockOffset(offsetS) {
      if (told !== undefined && Math.abs(told - offsetS) < 60) return;
      told = offsetS;
      log.error("this host's clock and EMX2's differ; set this host's clock (chrony, ntpd)", { offsetS });
    },
    ...own,
  });
}

function authorities(path: string, file: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw new ConfigError([
      { file, path: "emx2.ca_file", message: `${path} cannot be read: ${meaningOf(error.code)}` },
    ]);
  }
}
