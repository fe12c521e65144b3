/** Everything that is wrong with a configuration, told in one go and in the order of its lines. */
import * as v from "valibot";
import type { ConfigProblem } from "../errors.ts";
import { type Document, dotted, type Path } from "./document.ts";
import type { Places } from "./places.ts";
import { excerpt } from "./printable.ts";
import { type Block, blockOf, type Fault, ruleFaults } from "./rules.ts";
import { type Settings, schemaFor, sectionsFor } from "./schema.ts";

export interface Checked {
  /** There where nothing is wrong. */
  readonly settings?: Settings;
  readonly problems: readonly ConfigProblem[];
}

export function checkDocument(document: Document, places: Places): Checked {
  const { emx2, apptainer, ...others } = blockOf(document.value);
  // A section that is left out or empty lacks its keys, not itself.
  const filled = Object.entries(others).filter(([key, value]) => value !== null || !emptyable.includes(key));
  const root: Block = { ...Object.fromEntries(filled), emx2: emx2 ?? {}, apptainer: apptainer ?? {} };
  const parsed = v.safeParse(schemaFor(places), root);
  const faults = [
    ...rootFaults(document),
    ...listFaults(root),
    ...unknownKeys(root, places),
    ...(parsed.issues ?? []).flatMap((issue) => issueFault(issue, places)),
    ...ruleFaults(root),
  ].filter((fault) => !document.isFaulty(fault.path));
  const problems = [...document.problems, ...faults.map((fault) => located(fault, document))];
  if (problems.length === 0 && parsed.success) return { settings: parsed.output, problems };
  return { problems: inOrder(problems) };
}

const emptyable = ["worker", "slurm", "profiles"];

function rootFaults({ value }: Document): Fault[] {
  const isBlock = typeof value === "object" && value !== null && !Array.isArray(value);
  return isBlock ? [] : [{ path: [], message: `must be a block of keys, not ${excerpt(value)}` }];
}

/** valibot takes a list for an object with the keys 0, 1, …, and an empty one for an empty object. */
function* listFaults(root: Block): Generator<Fault> {
  const { profiles } = root;
  const inProfiles = Object.entries(blockOf(profiles)).map(([key, value]) => [["profiles", key], value] as const);
  for (const [path, value] of [...Object.entries(root).map(([key, value]) => [[key], value] as const), ...inProfiles]) {
    if (Array.isArray(value)) yield { path, message: "must be a block of keys, not a list" };
  }
}

/** valibot tells the first of a block alone, and takes `toString` for a known one. */
function* unknownKeys(root: Block, places: Places): Generator<Fault> {
  const { profile, ...sections } = sectionsFor(places);
  yield* unknownIn([], root, [...Object.keys(schemaFor(places).entries)]);
  for (const [name, { entries }] of Object.entries(sections)) {
    yield* unknownIn([name], blockOf(root[name]), Object.keys(entries));
  }
  const { profiles } = root;
  for (const [key, settings] of Object.entries(blockOf(profiles))) {
    yield* unknownIn(["profiles", key], blockOf(settings), Object.keys(profile.entries));
  }
}

function* unknownIn(path: Path, block: Block, allowed: readonly string[]): Generator<Fault> {
  for (const key of Object.keys(block).filter((name) => !allowed.includes(name))) {
    const near = nearestName(key, allowed);
    const guess = near === undefined ? "" : `did you mean ${near}? `;
    yield { path: [...path, key], message: "is not a key here", hint: `${guess}allowed: ${allowed.join(", ")}` };
  }
}

/** What must not be repeated on a terminal or in a log. */
const hiddenKeys: readonly unknown[] = ["worker_secret", "shared_secret", "base_url"];

function issueFault(issue: v.BaseIssue<unknown>, places: Places): Fault[] {
  const path = (issue.path ?? []).map(({ key }) => (typeof key === "number" ? key : String(key)));
  if (issue.type === "strict_object" && issue.expected === "never") return [];
  if (issue.type === "strict_object" && issue.received === "undefined") return [missing(path, places)];
  const { message, input } = issue;
  if (input === null) return [{ path, message: "has no value", hint: "give one, or leave the key out" }];
  const shown = message.startsWith("must be") && !hiddenKeys.includes(path.at(-1));
  return [{ path, message: shown ? `${message}, not ${excerpt(input)}` : message }];
}

function missing(path: Path, places: Places): Fault {
  const [section, key] = path;
  const described = Object.entries(sectionsFor(places)).find(([name]) => name === section)?.[1].entries;
  const schema = Object.entries(described ?? {}).find(([name]) => name === key)?.[1];
  const hint = schema && v.getDescription(schema);
  return { path, message: "is missing", ...(hint === undefined ? {} : { hint }) };
}

function located({ path, message, hint }: Fault, document: Document): ConfigProblem {
  return {
    ...document.place(path),
    ...(path.length === 0 ? {} : { path: dotted(path) }),
    message,
    ...(hint === undefined ? {} : { hint }),
  };
}

/** One rule may be broken in two ways with one message: it is told once. */
function inOrder(problems: readonly ConfigProblem[]): ConfigProblem[] {
  const unique = new Map(problems.map((problem) => [JSON.stringify(problem), problem]));
  return [...unique.values()].sort((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0));
}

/** The name that somebody who wrote `given` most likely meant; undefined where none is near: a guess would mislead. */
export function nearestName(given: string, names: readonly string[]): string | undefined {
  if (given.length > longestNameChars) return undefined;
  const far = Math.max(2, Math.floor(given.length / 3));
  const ranked = names
    .map((name) => ({ name, distance: editDistance(given.toLowerCase().replaceAll("-", "_"), name) }))
    .filter(({ distance }) => distance <= far)
    .sort((a, b) => a.distance - b.distance);
  return ranked[0]?.name;
}

const longestNameChars = 100;

/** Letters that have to be put in, left out or replaced (Levenshtein), row by row. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (const [i, letter] of [...from].entries()) {
    const next = [i + 1];
    for (const [j, other] of [...to].entries()) {
      const replaced = (row[j] ?? 0) + (letter === other ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}
