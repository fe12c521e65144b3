/**
 * Ends what a stage has left running: processes that name its directory, which no other process does, each with its
 * process group (a `sleep` of theirs names nothing).
 */
import { readdirSync, readFileSync } from "node:fs";
import { until } from "./until.ts";

const boundMs = 10_000;

export async function killStrays(dir: string): Promise<void> {
  const gone = () => {
    const strays = straysOf(dir);
    for (const { group } of strays) end(group);
    return strays.length === 0;
  };
  await until(`no process of ${dir} is left`, gone, boundMs, () => JSON.stringify(straysOf(dir)));
}

/** Processes that have the directory in their arguments, but for those of our own group. */
export function straysOf(dir: string): { readonly pid: number; readonly group: number; readonly command: string }[] {
  const own = groupOf(process.pid);
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => ({ pid: Number(name), group: groupOf(Number(name)) ?? 0, command: commandOf(Number(name)) }))
    .filter(({ group, command }) => group > 1 && group !== own && command.includes(dir));
}

function end(group: number): void {
  try {
    process.kill(-group, "SIGKILL");
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

function commandOf(pid: number): string {
  return (textOf(`/proc/${pid}/cmdline`) ?? "").replaceAll("\0", " ");
}

/** The fifth field of `stat`; the second, in parentheses, may hold anything. A process that is only waited for has none. */
function groupOf(pid: number): number | undefined {
  const stat = textOf(`/proc/${pid}/stat`);
  const [state, , group] = stat?.slice(stat.lastIndexOf(")") + 2).split(" ") ?? [];
  return state === undefined || state === "Z" ? undefined : Number(group);
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

function isGone(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ESRCH");
}
