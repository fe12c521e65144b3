/** The state directory as it is found: who else can look into it? */
import { statSync } from "node:fs";
import type { Config } from "../config/config.ts";
import { shellWord } from "../config/printable.ts";
import { isSystemError } from "../errors.ts";
import type { Log } from "../log.ts";

/** One that is not there yet is made for its owner alone; one that can not be looked at is the lock's business. */
export function warnOfOpenState({ worker: { stateDir } }: Config, log: Log): void {
  try {
    const stats = statSync(stateDir, { throwIfNoEntry: false });
    if (!stats?.isDirectory() || (stats.mode & 0o077) === 0) return;
    const mode = (stats.mode & 0o7777).toString(8).padStart(4, "0");
    log.warn("others can read the state directory", { stateDir, mode, fix: `chmod 700 ${shellWord(stateDir)}` });
  } catch (error) {
    if (!isSystemError(error)) throw error;
  }
}
