/**
 * Who holds the state, as far as can be seen from outside: the lock itself is not touched, since whoever tries a lock holds
 * it for a moment. A holder that was killed leaves its name behind; on its own host its process tells, and everywhere the
 * age of its last snapshot.
 */
import { existsSync, readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { describe, parseHolder } from "./lease-holder.ts";

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
  // Where the file system refuses locks, the lease alone is held.
  const holder = readHolder(join(stateDir, "lock.holder")) ?? leaseHolder(join(stateDir, "lease"));
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

function leaseHolder(path: string): string | undefined {
  try {
    return describe(parseHolder(readlinkSync(path)));
  } catch {
    return undefined;
  }
}
