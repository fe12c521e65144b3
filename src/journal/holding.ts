/**
 * Who holds the state, as far as can be seen from outside: the lock itself is not touched, since whoever tries a lock holds
 * it for a moment. A holder that was killed leaves its name behind; on its own host its process tells, and everywhere the
 * age of its last snapshot.
 */
import { existsSync, readFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";

/** `holder`: for a person to read. `unsure`: it gave its name on another host, or has published nothing for long. */
export type Holding =
  | { readonly is: "nobody" }
  | { readonly is: "held"; readonly holder: string }
  | { readonly is: "unsure"; readonly holder: string };

/** A daemon publishes every minute at the latest, a large one more seldom. */
const longestSilenceMs = 300_000;
const maxHolderLength = 200;

/** `silentMs`: since the last sign of life. */
export function holdingOf(stateDir: string, silentMs: number): Holding {
  const holder = readHolder(join(stateDir, "lock.holder"));
  if (holder === undefined) return { is: "nobody" };
  const [, pid, host] = /^process (\d+) on (\S+),/.exec(holder) ?? [];
  const isHere = host === hostname();
  if (isHere && !existsSync(`/proc/${pid}`)) return { is: "nobody" };
  return { is: silentMs <= longestSilenceMs ? "held" : "unsure", holder };
}

function readHolder(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim().slice(0, maxHolderLength);
  } catch {
    return undefined;
  }
}
