/**
 * JSON whose source text survives. JSON.parse turns `1.0` into 1, rounds 20-digit integers and reorders keys such as
 * "10"; a submitter's parameters must pass through untouched, so they are cut out of the text that holds them.
 * `childTexts` and `memberText` expect text that JSON.parse accepts, and do not recurse, however deep it is.
 */
import { createHash } from "node:crypto";

/** Deeper parameters are refused; EMX2's own reader stops at 1,000 as well. */
const maxDepth = 1_000;

/**
 * The source text of each member of an object, or of each element of an array under its index. Of a name that occurs
 * twice the last one counts, as for JSON.parse. A scalar has none.
 */
export function childTexts(text: string): ReadonlyMap<string, string> {
  const children = new Map<string, string>();
  let at = skipSpace(text, 0);
  const isObject = text[at] === "{";
  if (!isObject && text[at] !== "[") return children;
  const close = isObject ? "}" : "]";
  at = skipSpace(text, at + 1);
  for (let index = 0; text[at] !== close; index++) {
    let name = String(index);
    if (isObject) {
      const nameEnd = valueEnd(text, at);
      name = JSON.parse(text.slice(at, nameEnd));
      at = skipSpace(text, expect(text, skipSpace(text, nameEnd), ":"));
    }
    const end = valueEnd(text, at);
    children.set(name, text.slice(at, end));
    at = skipSpace(text, end);
    if (text[at] !== close) at = skipSpace(text, expect(text, at, ","));
  }
  return children;
}

/** The source text at a path of member names and indexes; undefined where nothing is there. */
export function memberText(text: string, path: readonly (string | number)[]): string | undefined {
  return path.reduce<string | undefined>(
    (inner, key) => (inner === undefined ? undefined : childTexts(inner).get(String(key))),
    text,
  );
}

/** SHA-256 of `canonicalText` in lower-case hex: `parameters_hash`. Throws as that does. */
export function canonicalHash(text: string): string {
  return createHash("sha256").update(canonicalText(text)).digest("hex");
}

/**
 * One spelling for all texts that mean the same, byte for byte what Python's `json.dumps(json.loads(text),
 * sort_keys=True, separators=(",", ":"))` prints, since submitters compare with that: keys sorted by code point, no
 * spaces, non-ASCII as \uXXXX. A number without point and exponent is an integer and keeps its digits (`-0` is 0), any
 * other is a double in Python's spelling (`1.0`, `100000.0`, `1e+16`, `1e-05`, `-0.0`, `Infinity` beyond the range).
 * Throws SyntaxError for what is no JSON, RangeError where it is nested too deep.
 */
export function canonicalText(text: string): string {
  JSON.parse(text);
  return canonicalValue(text, skipSpace(text, 0), 1).canonical;
}

interface Canonical {
  readonly canonical: string;
  readonly end: number;
}

function canonicalValue(text: string, start: number, depth: number): Canonical {
  if (depth > maxDepth) throw new RangeError(`JSON nested deeper than ${maxDepth} levels`);
  if (text[start] === "{") return canonicalObject(text, start, depth);
  if (text[start] === "[") return canonicalArray(text, start, depth);
  const end = valueEnd(text, start);
  const source = text.slice(start, end);
  if (source.startsWith('"')) return { canonical: asciiString(JSON.parse(source)), end };
  return { canonical: /^[-\d]/.test(source) ? canonicalNumber(source) : source, end };
}

function canonicalObject(text: string, start: number, depth: number): Canonical {
  const members = new Map<string, string>();
  let at = skipSpace(text, start + 1);
  while (text[at] !== "}") {
    const nameEnd = valueEnd(text, at);
    const name: string = JSON.parse(text.slice(at, nameEnd));
    const value = canonicalValue(text, skipSpace(text, skipSpace(text, nameEnd) + 1), depth + 1);
    members.set(name, value.canonical);
    at = afterElement(text, value.end);
  }
  const sorted = [...members].sort(([a], [b]) => byCodePoint(a, b));
  return { canonical: `{${sorted.map(([name, value]) => `${asciiString(name)}:${value}`).join(",")}}`, end: at + 1 };
}

function canonicalArray(text: string, start: number, depth: number): Canonical {
  const elements: string[] = [];
  let at = skipSpace(text, start + 1);
  while (text[at] !== "]") {
    const value = canonicalValue(text, at, depth + 1);
    elements.push(value.canonical);
    at = afterElement(text, value.end);
  }
  return { canonical: `[${elements.join(",")}]`, end: at + 1 };
}

function afterElement(text: string, end: number): number {
  const at = skipSpace(text, end);
  return text[at] === "," ? skipSpace(text, at + 1) : at;
}

function canonicalNumber(source: string): string {
  if (/^-?\d+$/.test(source)) return source === "-0" ? "0" : source;
  const value = Number(source);
  if (!Number.isFinite(value)) return value > 0 ? "Infinity" : "-Infinity";
  if (value === 0) return Object.is(value, -0) ? "-0.0" : "0.0";
  // Both languages print the fewest digits that read back the same; only the layout around them differs.
  const [, sign, whole, fraction = "", power] = /^(-?)(\d)(?:\.(\d+))?e([-+]\d+)$/.exec(value.toExponential()) ?? [];
  const digits = `${whole}${fraction}`;
  const exponent = Number(power);
  if (exponent < -4 || exponent >= 16) {
    const mantissa = fraction === "" ? whole : `${whole}.${fraction}`;
    return `${sign}${mantissa}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
  }
  if (exponent < 0) return `${sign}0.${"0".repeat(-exponent - 1)}${digits}`;
  return `${sign}${digits.slice(0, exponent + 1).padEnd(exponent + 1, "0")}.${digits.slice(exponent + 1) || "0"}`;
}

/** JSON.stringify escapes everything that ASCII output must, except what is not ASCII and DEL. */
function asciiString(value: string): string {
  return JSON.stringify(value).replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** JavaScript sorts by UTF-16 unit, which puts U+1F600 before U+FFFF. */
function byCodePoint(a: string, b: string): number {
  const [left, right] = [Array.from(a), Array.from(b)];
  for (const [index, char] of left.entries()) {
    const other = right[index];
    if (other === undefined) return 1;
    if (char !== other) return (char.codePointAt(0) ?? 0) - (other.codePointAt(0) ?? 0);
  }
  return left.length - right.length;
}

/** Index after the value that begins at `start`. */
function valueEnd(text: string, start: number): number {
  if (text[start] === '"') return stringEnd(text, start);
  if (text[start] !== "{" && text[start] !== "[") {
    const scalar = /[-+.\w]+/y;
    scalar.lastIndex = start;
    if (!scalar.test(text)) throw new SyntaxError(`no JSON value at ${start}`);
    return scalar.lastIndex;
  }
  const marks = /["[\]{}]/g;
  marks.lastIndex = start;
  let depth = 0;
  for (let mark = marks.exec(text); mark !== null; mark = marks.exec(text)) {
    if (mark[0] === '"') marks.lastIndex = stringEnd(text, mark.index);
    else if (mark[0] === "{" || mark[0] === "[") depth++;
    else if (--depth === 0) return marks.lastIndex;
  }
  throw new SyntaxError(`JSON ends inside the value at ${start}`);
}

function stringEnd(text: string, start: number): number {
  for (let quote = text.indexOf('"', start + 1); quote !== -1; quote = text.indexOf('"', quote + 1)) {
    let backslashes = 0;
    while (text[quote - 1 - backslashes] === "\\") backslashes++;
    if (backslashes % 2 === 0) return quote + 1;
  }
  throw new SyntaxError(`JSON ends inside the string at ${start}`);
}

function skipSpace(text: string, start: number): number {
  let at = start;
  while (text[at] === " " || text[at] === "\n" || text[at] === "\r" || text[at] === "\t") at++;
  return at;
}

function expect(text: string, at: number, char: ":" | ","): number {
  if (text[at] !== char) throw new SyntaxError(`expected ${char} at ${at} in JSON`);
  return at + 1;
}
