/** The holder of a lease: what its link says, and whether that process can still be alive. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { errnoOf } from "../errors.ts";

/** A process, and the machine that it runs on. */
export interface Process {
  readonly host: string;
  /** Of /etc/machine-id; `-`: there is none. */
  readonly machine: string;
  /** The kernel's, another after each boot. */
  readonly boot: string;
  readonly pid: number;
  /** Clock ticks from the boot to its start: a number that is given again starts at another time. */
  readonly start: string;
  /** undefined: no such process runs here. */
  startOf(pid: number): string | undefined;
}

export interface Holder extends Omit<Process, "startOf"> {
  /** Seconds since 1970 by its own clock. */
  readonly since: number;
  /** Of one holding. */
  readonly token: string;
}

export function thisProcess(): Process {
  const { pid } = process;
  return {
    // One word, whatever somebody has called it.
    host: encodeURIComponent(hostname()),
    machine: machineId(),
    boot: firstLine("/proc/sys/kernel/random/boot_id") ?? "-",
    pid,
    start: startOf(pid) ?? "-",
    startOf,
  };
}

/** What the link's target is. */
export function textOf({ host, machine, boot, pid, start, since, token }: Holder): string {
  return [1, host, machine, boot, pid, start, since, token].join(" ");
}

/** undefined: none, or of another version. */
export function parseHolder(target: string | undefined): Holder | undefined {
  const words = target?.split(" ") ?? [];
  const [version, host = "", machine = "", boot = "", pid, start = "", since, token = ""] = words;
  // The token becomes part of a file's name.
  if (version !== "1" || words.length !== 8 || !/^[\w-]+$/.test(token)) return undefined;
  return { host, machine, boot, pid: Number(pid), start, since: Number(since), token };
}

export function describe(holder: Holder | undefined): string {
  if (!holder) return "something else";
  const { pid, host, since } = holder;
  const at = Number.isSafeInteger(since) && since < 8e12 ? new Date(since * 1_000).toISOString() : "an unknown time";
  return `process ${pid} on ${host.replace(/[^\w.-]/g, "?")}, since ${at}`;
}

/**
 * True: that process can not be alive, for it ran under this kernel, or on this machine before it was booted. A lock that is
 * ours tells so of every process under this kernel, in whatever container.
 */
export function isGoneHere(holder: Holder | undefined, here: Process, hasLock: boolean): boolean {
  if (!holder) return false;
  if (holder.boot === here.boot) {
    if (hasLock) return true;
    return holder.host === here.host && here.startOf(holder.pid) !== holder.start;
  }
  return holder.host === here.host && holder.machine === here.machine && here.machine !== "-";
}

function machineId(): string {
  const id = firstLine("/etc/machine-id");
  // Systemd asks not to show it as it is.
  return id ? createHash("sha256").update(`emx2-hpc-daemon ${id}`).digest("hex").slice(0, 16) : "-";
}

/** Field 22 of /proc/PID/stat; the name before it may hold anything. */
function startOf(pid: number): string | undefined {
  const stat = firstLine(`/proc/${pid}/stat`);
  return stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
}

function firstLine(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").split("\n", 1)[0];
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return undefined;
  }
}
