/**
 * Trees of files with any names, sizes and depth go into a job and come back out of it: what EMX2 then holds is, byte for
 * byte, what it held before.
 */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { committed, sha256Of } from "./committed.ts";
import { generations } from "./course.ts";
import { openStage, type Stage } from "./harness.ts";

/** What a link inside the output directory leads to arrives under the link's name as well. */
const linksAreFollowed = true;

const testMs = 240_000;
const runs = 8;
/** A failure is made smaller for so long. */
const searchMs = 90_000;
const boundMs = 60_000;
const treesAtOnce = 5;
const maxPathCharacters = { "2026-02": 255, "2026-05": 1_024 } as const;
const maxSegmentBytes = 255;
/** Just around what is read, sent, asked after or taken in one piece. */
const borders = [65_536, 262_144, 1_048_576].flatMap((size) => [size - 1, size, size + 1]);
/** What 2026-02 takes by PUT, and what not. */
const putBorders = [9_999_999, 10_000_000, 10_000_001];

/** Its content is made when it is needed: what a failure prints stays short. */
interface TreeFile {
  readonly path: string;
  readonly size: number;
  readonly seed: number;
}

interface Tree {
  readonly files: readonly TreeFile[];
  /** At the top of the tree: name, and the path that it leads to. */
  readonly links: readonly (readonly [string, string])[];
}

const program = `
  cp -a "$HPC_INPUT_DIR"/*/. "$HPC_OUTPUT_DIR"/
  while [ $# -gt 1 ]; do ln -s -- "$2" "$HPC_OUTPUT_DIR/$1"; shift 2; done`;

const isName = (name: string) => name !== "" && name !== "." && name !== ".." && !/[/\0]/.test(name);
/** These are logs and progress, which are no outputs. */
const isOutput = (name: string) => !/^slurm-|\.log$|^\.hpc_progress\.jsonl?$/.test(name);
const fits = (name: string) => Buffer.byteLength(name) <= maxSegmentBytes;
const odd = [
  "a b",
  "#",
  "?",
  "%",
  "%2F",
  "%2e%2e",
  "+",
  ";",
  "'",
  '"',
  "\\",
  "\n",
  "é",
  "e\u0301",
  "-rf",
  "~",
  "*",
  "data.json",
];
const segment = fc
  .oneof(
    fc.string({ unit: "binary", minLength: 1, maxLength: 12 }),
    fc.string({ unit: "grapheme", minLength: 1, maxLength: 12 }),
    fc.constantFrom(...odd),
    fc.constantFrom("a", "b", "c"),
    fc.constant("long".padEnd(maxSegmentBytes, "g")),
  )
  .filter((name) => isName(name) && isOutput(name) && fits(name));
const size = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: 0, max: 3_000 }) },
  { weight: 2, arbitrary: fc.constant(0) },
  { weight: 1, arbitrary: fc.constantFrom(...borders) },
);
const file = fc.record({
  segments: fc.oneof(
    { weight: 9, arbitrary: fc.array(segment, { minLength: 1, maxLength: 6 }) },
    { weight: 1, arbitrary: fc.array(fc.constantFrom("d", "é"), { minLength: 40, maxLength: 60 }) },
  ),
  size,
  seed: fc.nat(),
});

function treeOf(maxCharacters: number): fc.Arbitrary<Tree> {
  const links = fc.array(fc.tuple(segment, fc.nat()), { maxLength: linksAreFollowed ? 3 : 0 });
  return fc
    .tuple(fc.array(file, { minLength: 1, maxLength: 8 }), links)
    .map(([drawn, linked]) => {
      const files: TreeFile[] = [];
      const paths: string[] = [];
      for (const { segments, size, seed } of drawn) {
        const path = segments.join("/");
        if (path.length > maxCharacters || collides(path, paths)) continue;
        files.push({ path, size, seed });
        paths.push(path);
      }
      const named = new Map(linked.map(([name, at]) => [name, paths[at % paths.length] ?? ""]));
      return { files, links: [...named].filter(([name]) => !collides(name, paths)) };
    })
    .filter(({ files }) => files.length > 0);
}

/** Repeats itself after an odd number of bytes, so that no two pieces of it look alike. */
function contentOf({ size, seed }: TreeFile): Buffer {
  return size === 0 ? Buffer.alloc(0) : Buffer.alloc(size, sha256Of(String(seed)).slice(1));
}

function collides(path: string, others: readonly string[]): boolean {
  return others.some((other) => other === path || other.startsWith(`${path}/`) || path.startsWith(`${other}/`));
}

/** Every border, and paths as long as they may be. */
function extremes(maxCharacters: number): Tree {
  const sizes = [...borders, ...putBorders].map((size) => ({ path: `size/${size}`, size, seed: size }));
  const longest = ["x", "é", "\u{1f600}".repeat(20)].map((unit, index) => {
    const path = `${index}/${`${unit.repeat(100 / unit.length)}/`.repeat(20)}`.slice(0, maxCharacters);
    return { path: path.replace(/\/?.$/su, "z").padEnd(maxCharacters, "z"), size: index, seed: index };
  });
  return { files: [...sizes, ...longest], links: [] };
}

async function comeBack(stage: Stage, trees: readonly Tree[]): Promise<void> {
  const ids = trees.map(({ files, links }) =>
    stage.submit("copy", {
      files: files.map((file) => ({ path: file.path, content: contentOf(file) })),
      parametersText: JSON.stringify({ args: links.flat() }),
    }),
  );
  for (const [index, id] of ids.entries()) {
    await stage.untilStatus(id, "COMPLETED", boundMs);
    const { files = [], links = [] } = trees[index] ?? {};
    const contents = new Map(files.map((file) => [file.path, sha256Of(contentOf(file))]));
    for (const [name, to] of links) contents.set(name, contents.get(to) ?? "");
    const back = [...committed(stage, stage.job(id).outputArtifactId)];
    expect(new Map(back.map(([path, content]) => [path, sha256Of(content)]))).toEqual(contents);
  }
}

test.each(generations)(
  "%s: any tree comes back as it was",
  async (generation) => {
    await using stage = await openStage({ generation, profiles: { copy: { program } } });
    stage.start("run", "--backend", "shell");
    const limit = maxPathCharacters[generation];
    const trees = fc.array(treeOf(limit), { minLength: 1, maxLength: treesAtOnce });
    await fc.assert(
      fc.asyncProperty(trees, (drawn) => comeBack(stage, drawn)),
      { numRuns: runs, examples: [[[extremes(limit)]]], interruptAfterTimeLimit: searchMs },
    );
  },
  testMs,
);
