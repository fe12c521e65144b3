/** Exit codes, and which error ends in which. Source: sysexits.h where it has a word for it. */
import { ApiError, ConfigError, NetworkError, StateError, StorageError, SubprocessError } from "../errors.ts";
import { escapeText } from "../log.ts";
import { UsageError } from "./usage.ts";

export const exitCodes = {
  done: 0,
  /** The thing asked for failed or was refused. */
  failed: 1,
  usage: 2,
  /** EMX2 does not answer. */
  unavailable: 69,
  /** Our bug. */
  bug: 70,
  /** Another instance holds the state. */
  held: 75,
  /** The configuration can not be used. */
  configuration: 78,
  /** Nobody reads what we print: the shell's code for SIGPIPE. */
  unread: 141,
} as const;

const stateExit: Readonly<Record<StateError["state"]["reason"], number>> = {
  busy: exitCodes.held,
  lost: exitCodes.held,
  newer: exitCodes.configuration,
  full: exitCodes.failed,
  damaged: exitCodes.failed,
  unusable: exitCodes.failed,
};

const signalNumbers = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;
export type StopSignal = keyof typeof signalNumbers;
export const stopSignals = Object.keys(signalNumbers) as readonly StopSignal[];

/** The shell's way to say that a process was ended by a signal. */
export function ended(signal: StopSignal): number {
  return 128 + signalNumbers[signal];
}

export function explain(error: unknown): { readonly code: number; readonly text: string } {
  if (error instanceof UsageError)
    return { code: exitCodes.usage, text: `${lines(error.message)}\nTry: ${error.command} --help` };
  if (error instanceof ConfigError) return { code: exitCodes.configuration, text: lines(error.message) };
  if (error instanceof StateError) return { code: stateExit[error.state.reason], text: lines(error.message) };
  if (error instanceof SubprocessError) return { code: exitCodes.failed, text: lines(error.message) };
  if (error instanceof StorageError) return { code: exitCodes.failed, text: lines(error.message) };
  if (error instanceof NetworkError) return { code: exitCodes.unavailable, text: lines(error.message) };
  if (error instanceof ApiError) {
    const down = error.answer.status >= 500 || error.answer.status === 429;
    return { code: down ? exitCodes.unavailable : exitCodes.failed, text: lines(error.message) };
  }
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { code: exitCodes.bug, text: `emx2-hpc-daemon: this is a bug of ours, please report it\n${lines(stack)}` };
}

/** Messages may hold words of servers and files: each line is escaped, the line breaks are ours. */
function lines(text: string): string {
  return text.split("\n").map(escapeText).join("\n");
}
