/** The import graph of a source tree, read from its text: `import type` counts too, which a bundler's scan drops. */
import { readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";

export interface Import {
  /** Relative to the root of the tree, as in `job/job.ts`. */
  to: string;
  typeOnly: boolean;
}

export interface SourceFile {
  lines: number;
  imports: readonly Import[];
}

/** By path relative to the root of the tree. */
export type Graph = ReadonlyMap<string, SourceFile>;

/** Programs and the texts that they embed; declarations (`.d.ts`) are imported by nobody. */
export function readGraph(root: string): Graph {
  const paths = readdirSync(root, { recursive: true, encoding: "utf8" })
    .filter((path) => /\.(ts|sh)$/.test(path) && !path.endsWith(".d.ts"))
    .sort();
  return new Map(paths.map((path) => [path, readSource(path, readFileSync(join(root, path), "utf8"))]));
}

export function readSource(path: string, text: string): SourceFile {
  const imports = path.endsWith(".ts") ? [...importsOf(text)] : [];
  return {
    lines: text.trimEnd().split("\n").length,
    imports: imports
      .filter(({ to }) => to.startsWith("."))
      .map(({ to, typeOnly }) => ({ to: posix.join(posix.dirname(path), to), typeOnly })),
  };
}

/** The formatter puts each statement at the start of a line, where neither a comment nor a string has one. */
function* importsOf(text: string): Iterable<Import> {
  for (const [, typeOnly, to = ""] of text.matchAll(fromStatement)) yield { to, typeOnly: typeOnly !== undefined };
  for (const [, to = ""] of text.matchAll(/(?:^import |\bimport\()"([^"]+)"/gm)) yield { to, typeOnly: false };
}

const fromStatement =
  /^(?:import|export)\s+(type\s+)?(?:\*(?:\s+as\s+\w+)?|(?:\w+,\s+)?\{[^}]*\}|\w+)\s+from "([^"]+)"/gm;
