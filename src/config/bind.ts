/** Entries of `apptainer.bind_paths`: `SOURCE[:DESTINATION[:ro|rw]]`, read-only unless it says otherwise. */
import type { Bind } from "../job/profile.ts";
import { absolutePath, type Places } from "./places.ts";

/** Mounted by the daemon itself, of each job's own. */
const ownMounts = ["/input", "/output", "/work"];

export function bindFault(text: string): string | undefined {
  const [source, destination = source, mode = "ro", ...rest] = text.split(":");
  if (!source || !destination || rest.length > 0 || !/^(ro|rw)$/.test(mode)) {
    return `must be SOURCE, SOURCE:DESTINATION or SOURCE:DESTINATION:rw`;
  }
  if (!/^(~?\/)/.test(source)) return "must have an absolute source";
  if (text.includes(":") && !destination.startsWith("/")) return "must have an absolute destination";
  const own = ownMounts.find((mount) => destination === mount || destination.startsWith(`${mount}/`));
  if (own !== undefined) return `must not cover ${own}, where a job finds its own files`;
  return undefined;
}

export function bindOf(text: string, places: Places): Bind {
  const [from = "", to, mode] = text.split(":");
  const source = absolutePath(from, places);
  return { source, destination: to ?? source, writable: mode === "rw" };
}
