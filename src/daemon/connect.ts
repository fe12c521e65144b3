/** The EMX2 client that a configuration asks for. */
import { readFileSync } from "node:fs";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { readSecret } from "../config/secret.ts";
import { createClient, type Emx2Client } from "../emx2/client.ts";
import { ConfigError, formatProblem } from "../errors.ts";
import type { Log } from "../log.ts";
import { isSystemError } from "./faults.ts";

/** Throws ConfigError where the secret or the authorities can not be used. */
export function clientOf(config: Config, clock: Clock, log: Log): Emx2Client {
  const { baseUrl, workerId, authMode, caFile } = config.emx2;
  const secret = readSecret(config.emx2.secret, (problem) => log.warn(formatProblem(problem)));
  let told: number | undefined;
  return createClient({
    baseUrl,
    workerId,
    clock,
    credential: { mode: authMode, secret: () => secret.reveal() },
    ...(caFile === undefined ? {} : { ca: authorities(caFile, config.file) }),
    onClockOffset(offsetS) {
      if (told !== undefined && Math.abs(told - offsetS) < 60) return;
      told = offsetS;
      log.error("this host's clock and EMX2's differ; set this host's clock (chrony, ntpd)", { offsetS });
    },
  });
}

function authorities(path: string, file: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw new ConfigError([{ file, path: "emx2.ca_file", message: error.message }]);
  }
}
