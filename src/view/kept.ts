/** `clean --dry-run`: the job directories that there are, and which of them would go. */
import type { DirectorySize } from "../artifacts/directory-size.ts";
import { type Colors, table } from "./lines.ts";
import { counted, isoTime, size } from "./when.ts";

export interface Kept {
  readonly jobId: string;
  readonly directory: string;
  readonly size: DirectorySize;
  /** Wall clock milliseconds; null: it has not ended, or is not known. */
  readonly closedAt: number | null;
  /** Why it would stay; null: it would go. */
  readonly stays: string | null;
  /** Names in it that stay when the rest goes, and do not count into its size: posix artifacts. */
  readonly parts: readonly string[];
}

export function keptJson(kept: readonly Kept[]): object {
  return {
    directories: kept.map(({ closedAt, size: { bytes, isWhole }, ...one }) => ({
      ...one,
      bytes,
      bytesAreWhole: isWhole,
      closedAt: isoTime(closedAt ?? undefined),
    })),
  };
}

export function keptText(kept: readonly Kept[], colors: Colors): string {
  const going = kept.filter(({ stays }) => stays === null);
  const sum = `${counted(going.length, "directory")} would go, ${sizeOf(going)}; ${kept.length - going.length} would stay`;
  if (kept.length === 0) return "there is no job directory";
  const rows = kept.map((one) => [
    one.stays === null ? "would go" : "would stay",
    one.directory,
    sizeOf([one]),
    one.stays ?? [`ended ${isoTime(one.closedAt ?? undefined)}`, ...one.parts.map(stayingPart)].join("; "),
  ]);
  return `${table(["", "DIRECTORY", "SIZE", "WHY"], rows, colors)}\n\n${sum}`;
}

function stayingPart(name: string): string {
  return `${name} stays: it is a posix artifact`;
}

function sizeOf(kept: readonly Kept[]): string {
  const bytes = kept.reduce((sum, one) => sum + one.size.bytes, 0);
  return kept.every((one) => one.size.isWhole) ? size(bytes) : `more than ${size(bytes)}`;
}
