/**
 * The worker's secret, as it is by now: a secret that was rotated in its file counts within seconds, without a restart. A
 * file that has become unreadable, or is being rewritten, leaves the daemon with the secret that it has.
 */
import { statSync } from "node:fs";
import type { Clock } from "../clock.ts";
import { readSecret, type SecretSource } from "../config/secret.ts";
import { ConfigError, formatProblem, isSystemError } from "../errors.ts";
import type { Log } from "../log.ts";

/** Between two looks at the file. */
const lookIntervalMs = 3_000;

/** Throws ConfigError where there is no usable secret to begin with; the function that it returns never does. */
export function createSecretReader(source: SecretSource, clock: Clock, log: Log): () => string {
  let mark = markOf(source);
  let secret = readSecret(source, (problem) => log.warn(formatProblem(problem)));
  let lookedAt = clock.mono();
  let failing = false;

  const look = () => {
    const now = markOf(source);
    if (now === mark && !failing) return;
    try {
      secret = readSecret(source);
      // Taken before the file was read, so that a change in between is seen at the next look.
      mark = now;
      failing = false;
      log.info("the secret has been read again, since its file has changed");
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      if (!failing) log.warn("the secret can not be read again; the one before is used", { cause: error.message });
      failing = true;
    }
  };

  return () => {
    if (clock.mono() - lookedAt >= lookIntervalMs) {
      lookedAt = clock.mono();
      look();
    }
    return secret.reveal();
  };
}

/** What changes with the file, however it is replaced; "" where it can not be told, and for a secret without a file. */
function markOf(source: SecretSource): string {
  if (source.kind === "inline") return "";
  try {
    const { ino, size, mtimeMs } = statSync(source.path);
    return [ino, size, mtimeMs].join();
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return "";
  }
}
