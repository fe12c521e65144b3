/**
 * A YAML 1.2 text as plain data, with variables filled in and the place of every key kept, so that each later complaint
 * can say where. Whatever the text is, this ends with data or problems and never throws: size, depth and the number of
 * values are bounded, since aliases can stand for more than memory holds.
 */
import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Pair,
  parseDocument,
  type YAMLMap,
  type YAMLSeq,
} from "yaml";
import type { ConfigProblem } from "../errors.ts";
import { escapeText } from "../log.ts";
import { type Environment, interpolate } from "./interpolate.ts";
import { excerpt, unprintable } from "./printable.ts";

export type Plain = null | boolean | number | string | readonly Plain[] | { readonly [key: string]: Plain };
export type Path = readonly (string | number)[];

export interface Document {
  readonly value: Plain;
  readonly problems: readonly ConfigProblem[];
  /** Where this key or list item stands; where there is none, the nearest thing around it. */
  place(path: Path): { readonly line?: number; readonly column?: number };
  /** A problem with the value there has been told already. */
  isFaulty(path: Path): boolean;
}

const maxFileChars = 1_000_000;
const maxDepth = 20;
const maxValues = 20_000;
const maxSyntaxProblems = 10;

export function parseYaml(text: string, env: Environment): Document {
  if (text.length > maxFileChars) return failed(`is larger than ${maxFileChars} characters`);
  const lines = new LineCounter();
  // With a tag resolved or `%YAML 1.1` the same text would mean something else.
  const options = { version: "1.2", uniqueKeys: false, resolveKnownTags: false, prettyErrors: false } as const;
  const parsed = parseDocument(text, { ...options, lineCounter: lines });
  const walk = new Walk(env, lines, (alias) => (isAlias(alias) ? alias.resolve(parsed) : undefined));
  for (const fault of [...parsed.errors, ...parsed.warnings].slice(0, maxSyntaxProblems)) {
    if (fault.code === "MULTIPLE_DOCS") walk.tell([], "a second document begins", "keep one of them", fault.pos[0]);
    else walk.tell([], `not valid YAML: ${escapeText(fault.message)}`, undefined, fault.pos[0]);
  }
  if (parsed.directives?.yaml.explicit && parsed.directives.yaml.version !== "1.2") {
    walk.tell([], "must be YAML 1.2", "leave the %YAML line out", 0);
  }
  const broken = parsed.errors.length > 0;
  const value = broken || parsed.contents === null ? {} : walk.plain(parsed.contents, []);
  return {
    value,
    problems: walk.problems,
    place: (path) => walk.place(path),
    isFaulty: (path) => broken || walk.isFaulty(path),
  };
}

function failed(message: string): Document {
  return { value: {}, problems: [{ message }], place: () => ({}), isFaulty: () => true };
}

class Walk {
  readonly problems: ConfigProblem[] = [];
  readonly #offsets = new Map<string, number>();
  readonly #faulty = new Set<string>();
  #values = 0;

  constructor(
    private readonly env: Environment,
    private readonly lines: LineCounter,
    private readonly target: (alias: unknown) => unknown,
  ) {}

  plain(node: unknown, path: Path): Plain {
    this.#values += 1;
    if (this.#values > maxValues || path.length > maxDepth) {
      const limit = this.#values > maxValues ? `more than ${maxValues} values` : `nested more than ${maxDepth} deep`;
      // Told once: the rest of such a file is not looked at.
      if (this.#values <= maxValues + 1) this.tell(path, limit);
      this.#values = maxValues + 1;
      return null;
    }
    if (isMap(node)) return this.#map(node, path);
    if (isSeq(node)) return this.#list(node, path);
    if (isScalar(node)) return this.#scalar(node.value, path);
    if (isAlias(node)) return this.#alias(node, path);
    return null;
  }

  #map(map: YAMLMap, path: Path): Plain {
    // Without a prototype `__proto__` is a key like any other.
    const result: Record<string, Plain> = Object.create(null);
    for (const pair of map.items) {
      const key = this.#key(pair, path);
      if (key === undefined) continue;
      const at = [...path, key];
      if (key in result) {
        const first = this.place(at).line;
        this.tell(at, `is given twice`, first === undefined ? undefined : `first in line ${first}`, offsetOf(pair.key));
        continue;
      }
      this.#offsets.set(name(at), offsetOf(pair.key));
      result[key] = this.plain(pair.value, at);
    }
    return result;
  }

  #key({ key }: Pair, path: Path): string | undefined {
    const named = isAlias(key) ? this.target(key) : key;
    const value = isScalar(named) ? named.value : undefined;
    if (typeof value === "string" && value !== "" && !unprintable.test(value)) return value;
    if (typeof value === "number" || typeof value === "boolean") return String(value);
    this.tell(path, "a key must be a text of visible characters", undefined, offsetOf(key));
    return undefined;
  }

  #list(list: YAMLSeq, path: Path): Plain {
    return list.items.map((item, index) => {
      const at = [...path, index];
      this.#offsets.set(name(at), offsetOf(item));
      return this.plain(item, at);
    });
  }

  #scalar(value: unknown, path: Path): Plain {
    if (typeof value === "string") {
      const { text, faults } = interpolate(value, this.env);
      for (const { message, hint } of faults) this.tell(path, escapeText(message), hint);
      return text;
    }
    if (value === null || typeof value === "number" || typeof value === "boolean") return value;
    this.tell(path, `cannot be ${excerpt(value)}`);
    return null;
  }

  #alias(alias: unknown, path: Path): Plain {
    const target = this.target(alias);
    if (target !== undefined) return this.plain(target, path);
    this.tell(path, "refers to an anchor that does not stand before it");
    return null;
  }

  tell(path: Path, message: string, hint?: string, offset?: number): void {
    this.#faulty.add(name(path));
    const place = offset === undefined ? this.place(path) : this.#linePlace(offset);
    this.problems.push({
      ...place,
      ...(path.length === 0 ? {} : { path: dotted(path) }),
      message,
      ...(hint === undefined ? {} : { hint }),
    });
  }

  place(path: Path): { line?: number; column?: number } {
    for (let length = path.length; length > 0; length -= 1) {
      const offset = this.#offsets.get(name(path.slice(0, length)));
      if (offset !== undefined) return this.#linePlace(offset);
    }
    return {};
  }

  isFaulty(path: Path): boolean {
    return this.#faulty.has(name(path));
  }

  #linePlace(offset: number): { line: number; column: number } {
    const { line, col } = this.lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  }
}

function offsetOf(node: unknown): number {
  const known = (isScalar(node) || isMap(node) || isSeq(node) || isAlias(node)) && node.range;
  return known ? known[0] : 0;
}

function name(path: Path): string {
  return JSON.stringify(path);
}

/** `profiles."a:b/c".sbatch_args[0]`: keys that hold a dot or the like are quoted. */
export function dotted(path: Path): string {
  return path
    .map((step, index) => {
      if (typeof step === "number") return `[${step}]`;
      const key = /^[A-Za-z_]\w*$/.test(step) ? step : escapeText(JSON.stringify(step));
      return index === 0 ? key : `.${key}`;
    })
    .join("");
}
