/**
 * The demo's three jobs: their input, the host program that works on it, and what must come back. The expected output is
 * worked out here and not by the program, so that the table's "right" means something.
 */
import type { TerminalStatus } from "../job/status.ts";

export interface DemoJob {
  readonly name: string;
  readonly title: string;
  /** One input artifact of these files. */
  readonly input: readonly { readonly path: string; readonly content: string }[];
  readonly parameters: Readonly<Record<string, unknown>>;
  /** POSIX sh; it sees what every job sees. */
  readonly program: string;
  readonly status: TerminalStatus;
  /** Output files; none for a job that fails. */
  readonly output: Readonly<Record<string, string>>;
}

const poem = "slurm keeps the queue\napptainer holds the box\nthe result comes home\n";
const samples: Readonly<Record<string, string>> = {
  "samples/one.txt": "alpha beta\ngamma\n",
  "samples/two.txt": "delta\n",
  "samples/three, with spaces.txt": "epsilon zeta eta\ntheta\n",
};

export const demoJobs: readonly DemoJob[] = [
  {
    name: "uppercase",
    title: "one text file, transformed",
    input: [{ path: "poem.txt", content: poem }],
    parameters: { args: ["POEM.txt"] },
    program: `for file in "$HPC_INPUT_DIR"/*/poem.txt; do tr a-z A-Z <"$file" >"$HPC_OUTPUT_DIR/$1"; done\n`,
    status: "COMPLETED",
    output: { "POEM.txt": poem.toUpperCase() },
  },
  {
    name: "linecount",
    title: "three files, counted",
    input: Object.entries(samples).map(([path, content]) => ({ path, content })),
    parameters: {},
    program: [
      `cd "$HPC_INPUT_DIR"/*/samples`,
      `for file in *; do printf '%s\\t%s\\n' "$file" "$(wc -l <"$file" | tr -d ' ')"; done | LC_ALL=C sort >"$HPC_OUTPUT_DIR/lines.tsv"`,
      `echo "counted $(ls | wc -l | tr -d ' ') files"`,
      "",
    ].join("\n"),
    status: "COMPLETED",
    output: { "lines.tsv": lineCounts() },
  },
  {
    name: "failure",
    title: "fails on purpose",
    input: [{ path: "poem.txt", content: poem }],
    parameters: {},
    program: `echo "the model did not converge (this failure is part of the demo)" >&2\nexit 3\n`,
    status: "FAILED",
    output: {},
  },
];

function lineCounts(): string {
  const lines = Object.entries(samples).map(([path, content]) => {
    const name = path.slice("samples/".length);
    return `${name}\t${content.split("\n").length - 1}`;
  });
  return `${lines.sort().join("\n")}\n`;
}
