/**
 * The secret of the worker: a value that prints as `[secret]` wherever it strays, and the rules for the file it lives
 * in. It is read once, when a command needs it; loading and showing a configuration never opens the file.
 */
import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from "node:fs";
import { inspect } from "node:util";
import { ConfigError, type ConfigProblem, errnoOf, meaningOf } from "../errors.ts";
import { escapeText } from "../log.ts";
import { shellWord } from "./printable.ts";

export type SecretSource =
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "inline"; readonly secret: Secret };

export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The value itself, for signing and headers alone. */
  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return "[secret]";
  }

  toJSON(): string {
    return "[secret]";
  }

  [inspect.custom](): string {
    return "[secret]";
  }
}

/** A secret or token is one line; whatever is larger is the wrong file. */
const maxSecretBytes = 16_384;

/**
 * The secret, without the newline at its end. Throws ConfigError where the file is missing, unsafe or empty; `warn`
 * hears of what is tolerated.
 */
export function readSecret(source: SecretSource, warn: (problem: ConfigProblem) => void = () => {}): Secret {
  if (source.kind === "inline") return source.secret;
  const { path } = source;
  const file = openSecretFile(path);
  try {
    checkModes(path, fstatSync(file), warn);
    const buffer = Buffer.alloc(maxSecretBytes + 1);
    const length = readSync(file, buffer);
    if (length > maxSecretBytes) throw refusal(path, `is larger than ${maxSecretBytes} bytes, so it is not a secret`);
    return new Secret(singleLine(path, buffer.toString("utf8", 0, length)));
  } finally {
    closeSync(file);
  }
}

function openSecretFile(path: string): number {
  try {
    // O_NONBLOCK: a FIFO in its place would stop the start for ever.
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const code = errnoOf(error);
    if (code === "ENOENT") {
      throw refusal(path, "does not exist", "write the secret issued for this worker into it, then chmod 600 it");
    }
    if (code === undefined) throw error;
    throw refusal(path, `cannot be opened: ${meaningOf(code)}`);
  }
}

function checkModes(path: string, stats: Stats, warn: (problem: ConfigProblem) => void): void {
  if (!stats.isFile()) throw refusal(path, "is not a regular file");
  const { is, fault } = openness(path, stats);
  if (is === "refused") throw new ConfigError([fault]);
  if (is === "tolerated") warn(fault);
}

const rootUid = 0;

/** Who but its owner can get at the file. What root lets a group read is a site's way of handing a secret to a service. */
export function openness(
  path: string,
  { uid, mode }: Pick<Stats, "uid" | "mode">,
):
  | { readonly is: "safe"; readonly fault?: undefined }
  | { readonly is: "refused" | "tolerated"; readonly fault: ConfigProblem } {
  const open = mode & 0o077;
  if (open === 0) return { is: "safe" };
  const whom = open & 0o007 ? "others" : "its group";
  const shownMode = (mode & 0o7777).toString(8).padStart(4, "0");
  const fault = problem(path, `is open to ${whom} (mode ${shownMode})`, `chmod 600 ${shellWord(path)}`);
  return { is: uid === rootUid && open === 0o040 ? "tolerated" : "refused", fault };
}

function singleLine(path: string, content: string): string {
  const value = content.replace(/\r?\n$/, "");
  if (value.trim() === "") throw refusal(path, "is empty");
  // Either would break a header, and means that this is some other file.
  if (/\p{Cc}/u.test(value)) throw refusal(path, "holds more than one line, or control characters");
  return value;
}

function refusal(path: string, message: string, hint?: string): ConfigError {
  return new ConfigError([problem(path, message, hint)]);
}

function problem(path: string, message: string, hint?: string): ConfigProblem {
  return { message: `the secret file ${escapeText(path)} ${message}`, ...(hint === undefined ? {} : { hint }) };
}
