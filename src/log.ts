/**
 * The log: what an operator reads at three in the morning, on stderr. Short on a terminal, in colours where they are wanted;
 * plain and complete in a pipe; or one JSON object a line.
 *
 * Words of EMX2, of submitters and of jobs end up here, so whatever could drive a terminal, forge a line or turn the
 * direction of writing is spelt out (`escapeText`), and a text that is too long is cut.
 */
import { writeSync } from "node:fs";
import { createConsola, LogLevels } from "consola/core";
import { type Clock, systemClock } from "./clock.ts";
import { errnoOf } from "./errors.ts";

export interface Log {
  /** A person must act. */
  error(message: string, fields?: Fields): void;
  /** Degraded, but handled. */
  warn(message: string, fields?: Fields): void;
  /** Something changed; an idle cycle says nothing. */
  info(message: string, fields?: Fields): void;
  /** Commands and requests. */
  debug(message: string, fields?: Fields): void;
  /** A log that adds these fields to every line. */
  child(fields: Fields): Log;
}

/** `jobId` is shown before the message, on a terminal its first 8 characters; `undefined` is left out. */
export type Fields = Readonly<Record<string, string | number | boolean | null | undefined>>;

export type LogLevel = "error" | "warn" | "info" | "debug";

export interface LogOptions {
  readonly json: boolean;
  readonly level: LogLevel;
  readonly color: boolean;
  /** For a terminal: the time of day and the beginning of a job's id; else date and whole id. Usual where there are colours. */
  readonly short?: boolean;
  /** Takes one line with its newline. */
  readonly write: (line: string) => void;
  /** Of the time in each line. */
  readonly clock?: Pick<Clock, "wall">;
}

export function createLog(options: LogOptions): Log {
  const { clock = systemClock, write, color, short = color } = options;
  const format = options.json ? jsonLine : short ? (line: Line) => shortLine(line, color) : plainLine;
  const consola = createConsola({
    level: LogLevels[options.level],
    // consola would hold repeated lines back on timers of its own.
    throttle: 0,
    reporters: [{ log: ({ args }) => write(format(args[0] as Line)) }],
  });
  const logWith = (bound: Fields): Log => {
    const at = (level: LogLevel) => (message: string, fields?: Fields) =>
      consola[level]({
        args: [{ time: clock.wall(), level, message, fields: { ...bound, ...fields } } satisfies Line],
      });
    return {
      error: at("error"),
      warn: at("warn"),
      info: at("info"),
      debug: at("debug"),
      child: (fields) => logWith({ ...bound, ...fields }),
    };
  };
  return logWith({});
}

/** NO_COLOR (whatever its value, unless empty) and `TERM=dumb` turn colours off, and so does a pipe. */
export function wantsColor(stream: { readonly isTTY?: boolean }, env: Readonly<Record<string, string | undefined>>) {
  const { NO_COLOR, TERM } = env;
  return stream.isTTY === true && !NO_COLOR && TERM !== "dumb";
}

/**
 * Writes to stderr before it returns, so that the last words before an exit are not lost in a pipe. A reader that is
 * gone or does not read costs log lines and never the daemon.
 */
export function writeToStderr(text: string): void {
  let rest: Uint8Array = Buffer.from(text);
  for (let attempt = 0; rest.length > 0 && attempt < maxWriteAttempts; attempt += 1) {
    try {
      rest = rest.subarray(writeSync(2, rest));
    } catch (error) {
      if (errnoOf(error) !== "EAGAIN") return;
    }
  }
}

const maxWriteAttempts = 1_000;

/**
 * C0 and C1 controls, line separators, what turns the direction of writing, what can not be seen (but the joiners that
 * scripts and emoji need), and halves of surrogate pairs.
 */
const unsafe =
  /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

/** The text on one line, with every character spelt out that could drive a terminal: `\n`, `\x1b`, `\u202e`. */
export function escapeText(text: string): string {
  return text.replace(unsafe, (character) => {
    const code = character.codePointAt(0) ?? 0;
    if (character === "\n") return "\\n";
    if (character === "\t") return "\\t";
    const hex = code.toString(16);
    if (code <= 0xff) return `\\x${hex.padStart(2, "0")}`;
    return code <= 0xffff ? `\\u${hex.padStart(4, "0")}` : `\\u{${hex}}`;
  });
}

interface Line {
  /** Wall clock milliseconds. */
  readonly time: number;
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: Fields;
}

const maxTextLength = 4_000;
const shortIdLength = 8;

const colorOf: Readonly<Record<LogLevel, string>> = {
  error: "\x1b[31m",
  warn: "\x1b[33m",
  info: "\x1b[36m",
  debug: "\x1b[2m",
};
const dim = "\x1b[2m";
const reset = "\x1b[0m";

function shortLine({ time, level, message, fields }: Line, color: boolean): string {
  const paint = (code: string, word: string) => (color ? `${code}${word}${reset}` : word);
  const { jobId, ...others } = fields;
  const clockTime = paint(dim, new Date(time).toTimeString().slice(0, "hh:mm:ss".length));
  const job = jobId === undefined ? [] : [paint(dim, text(jobId).slice(0, shortIdLength))];
  const tail = pairs(others).map((pair) => paint(dim, pair));
  return `${[clockTime, paint(colorOf[level], level.padEnd(5)), ...job, text(message), ...tail].join(" ")}\n`;
}

function plainLine({ time, level, message, fields }: Line): string {
  const { jobId, ...others } = fields;
  const job = pairs({ jobId });
  return `${[new Date(time).toISOString(), level.padEnd(5), ...job, text(message), ...pairs(others)].join(" ")}\n`;
}

/** A field can not take the place of time, level or message. */
function jsonLine({ time, level, message, fields }: Line): string {
  const head = { time: new Date(time).toISOString(), level, message: cut(message) };
  const values = Object.entries(fields).map(([key, value]) => [key, jsonValue(value)]);
  const json = JSON.stringify({ ...head, ...Object.fromEntries(values), ...head });
  return `${json.replace(unsafe, jsonEscape)}\n`;
}

function pairs(fields: Fields): string[] {
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${text(key)}=${quoted(text(value))}`);
}

/** What is not one word is quoted, so that a value can not pass for another pair. */
function quoted(value: string): string {
  return /^[^\s"=]+$/.test(value) ? value : `"${value.replaceAll('"', '\\"')}"`;
}

/** `String` and nothing cleverer: a secret that strays in here prints as what its own `toString` says. */
function text(value: unknown): string {
  return escapeText(cut(String(value)));
}

function jsonValue(value: unknown): unknown {
  if (value === null || value === undefined || typeof value === "number" || typeof value === "boolean") return value;
  return cut(String(value));
}

function cut(value: string): string {
  const excess = value.length - maxTextLength;
  return excess > 0 ? `${value.slice(0, maxTextLength)}… (${excess} characters more)` : value;
}

/** As JSON writes it: one escape for each UTF-16 unit. */
function jsonEscape(character: string): string {
  return Array.from({ length: character.length }, (_, unit) => {
    return `\\u${character.charCodeAt(unit).toString(16).padStart(4, "0")}`;
  }).join("");
}
