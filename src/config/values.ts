/**
 * The kinds of values that configuration keys take, as schemas: each says in its message what it must be, and carries
 * the key's documentation. What a key comes to is of the same kind as what was written, but for paths (absolute) and
 * counts (numbers even where a variable gave them).
 */
import * as v from "valibot";
import { absolutePath, type Places, programPath } from "./places.ts";
import { unprintable } from "./printable.ts";
import {
  durationMs,
  durationPattern,
  largestSizeBytes,
  longestDurationMs,
  sizeBytes,
  sizePattern,
} from "./quantities.ts";

const mustBeText = "must be a text (in quotes, where YAML reads a number or true/false)";

function plainText() {
  return v.pipe(
    v.string(mustBeText),
    v.nonEmpty("must not be empty"),
    v.check((text) => !unprintable.test(text), "must not hold control characters"),
  );
}

export function text(description: string) {
  return v.pipe(plainText(), v.description(description));
}

/** A text for which an empty one means the same as none. */
export function blankable(description: string) {
  return v.pipe(
    v.string(mustBeText),
    v.check((value) => !unprintable.test(value), "must not hold control characters"),
    v.description(description),
  );
}

export function texts(description: string) {
  return v.pipe(v.array(plainText(), "must be a list of texts"), v.description(description));
}

/** A text that `fault` finds nothing wrong with; what it returns says what is. */
export function checkedText(description: string, fault: (text: string) => string | undefined) {
  return v.pipe(plainText(), v.rawCheck(faultless(fault)), v.description(description));
}

export function checkedTexts(description: string, fault: (text: string) => string | undefined) {
  const item = v.pipe(plainText(), v.rawCheck(faultless(fault)));
  return v.pipe(v.array(item, "must be a list of texts"), v.description(description));
}

function faultless(fault: (text: string) => string | undefined) {
  return ({ dataset, addIssue }: v.RawCheckContext<string>) => {
    const message = dataset.issues === undefined && dataset.typed ? fault(dataset.value) : undefined;
    if (message !== undefined) addIssue({ message });
  };
}

/** Text of a form; `mustBe` completes "must be …". */
export function textLike(pattern: RegExp, mustBe: string, description: string) {
  return v.pipe(v.string(mustBeText), v.regex(pattern, `must be ${mustBe}`), v.description(description));
}

/** As `textLike`, where YAML may have read a plain number. */
export function textOrNumberLike(pattern: RegExp, least: number, mustBe: string, description: string) {
  const message = `must be ${mustBe}`;
  const either = v.union([wholeNumber(least, message), v.pipe(v.string(), v.regex(pattern, message))], message);
  return v.pipe(either, v.description(description));
}

export function choice<const Options extends readonly string[]>(options: Options, description: string) {
  return v.pipe(v.picklist(options, `must be ${options.join(" or ")}`), v.description(description));
}

export function flag(description: string) {
  return v.pipe(v.boolean("must be true or false"), v.description(description));
}

const largestCount = 1_000_000;

export function count(least: number, description: string) {
  const message = `must be a whole number from ${least} to ${largestCount}`;
  return v.pipe(
    v.union([wholeNumber(least, message), v.pipe(v.string(), v.regex(/^\d{1,9}$/, message))], message),
    v.description(description),
    v.transform(Number),
    v.check((value) => value >= least && value <= largestCount, message),
  );
}

function wholeNumber(least: number, message: string) {
  return v.pipe(v.number(), v.integer(message), v.minValue(least, message), v.maxValue(largestCount, message));
}

/** `leastMs`: what is shorter is refused. */
export function duration(leastMs: number, description: string) {
  const least = leastMs > 0 ? ` of at least ${leastMs / 1000} seconds` : "";
  const message = `must be a duration${least}: seconds, or such as 30s, 5m, 12h, 7d`;
  return v.pipe(durationOf(leastMs, message), v.description(description));
}

export function durationOrNever(description: string) {
  const message = "must be a duration (seconds, or such as 30s, 5m, 12h, 7d) or never";
  return v.pipe(v.union([v.literal("never"), durationOf(0, message)], message), v.description(description));
}

function durationOf(leastMs: number, message: string) {
  return v.pipe(
    v.union(
      [v.pipe(v.number(), v.minValue(0, message)), v.pipe(v.string(), v.regex(durationPattern, message))],
      message,
    ),
    v.check((value) => durationMs(value) >= leastMs && durationMs(value) <= longestDurationMs, message),
  );
}

export function size(description: string) {
  const message = "must be a size: bytes, or such as 500M, 10G, 2T";
  return v.pipe(
    v.union([v.pipe(v.number(), v.minValue(0, message)), v.pipe(v.string(), v.regex(sizePattern, message))], message),
    v.check((value) => sizeBytes(value) <= largestSizeBytes, message),
    v.description(description),
  );
}

function plainPath() {
  return v.pipe(
    plainText(),
    v.check((value) => !/^~[^/]/.test(value), "knows ~/ alone, not another user's home"),
  );
}

export function path(places: Places, description: string) {
  return v.pipe(
    plainPath(),
    v.description(description),
    v.transform((value) => absolutePath(value, places)),
  );
}

export function paths(places: Places, description: string) {
  return v.pipe(
    v.array(plainPath(), "must be a list of paths"),
    v.description(description),
    v.transform((values) => values.map((value) => absolutePath(value, places))),
  );
}

/** A file, or an empty text for none. */
export function pathOrBlank(places: Places, description: string) {
  return v.pipe(
    blankable(description),
    v.check((value) => !value.includes("://"), "must be a file, not an address"),
    v.transform((value) => (value === "" ? "" : absolutePath(value, places))),
  );
}

/** A program by name or path. */
export function program(places: Places, description: string) {
  return v.pipe(
    plainPath(),
    v.description(description),
    v.transform((value) => programPath(value, places)),
  );
}

/** A program by name or path, or an empty text for none. */
export function programOrBlank(places: Places, description: string) {
  return v.pipe(
    blankable(description),
    v.transform((value) => (value === "" ? "" : programPath(value, places))),
  );
}
