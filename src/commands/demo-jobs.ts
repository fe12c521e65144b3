/**
 * The demo's jobs: their input, the host program that works on it, and what must come back. The expected output is worked
 * out here and not by the program, so that the table's "right" means something.
 */
import type { Profile } from "../job/profile.ts";
import type { TerminalStatus } from "../job/status.ts";

export interface DemoJob {
  readonly name: string;
  readonly title: string;
  /** The name of the profile that the job asks for; null: none, so that the daemon chooses. */
  readonly profile: string | null;
  /** One input artifact of these files. */
  readonly input: readonly { readonly path: string; readonly content: string }[];
  readonly parameters: Readonly<Record<string, unknown>>;
  /** POSIX sh; it sees what every job sees. */
  readonly program: string;
  /** Of the outputs: uploaded, or left where they were written. */
  readonly residence: Profile["outputResidence"];
  readonly status: TerminalStatus;
  /** What the last report must say. */
  readonly detail?: readonly string[];
  /** The phase in which it says how far it is. */
  readonly phase?: string;
  /** Output files; none for a job that fails. */
  readonly output: Readonly<Record<string, string>>;
}

export const profileName = "default";

const poem = "slurm keeps the queue\napptainer holds the box\nthe result comes home\n";
const samples: Readonly<Record<string, string>> = {
  "samples/one.txt": "alpha beta\ngamma\n",
  "samples/two.txt": "delta\n",
  "samples/three, with spaces.txt": "epsilon zeta eta\ntheta\n",
};
const epochs = 4;
const lastWords = "the model did not converge (this failure is part of the demo)";

const usual = { profile: profileName, parameters: {}, residence: "managed", status: "COMPLETED" } as const;

/** `pollIntervalMs`: of the daemon, which has to see a job on its way. */
export function demoJobs(pollIntervalMs: number): readonly DemoJob[] {
  return [
    {
      ...usual,
      name: "uppercase",
      title: "one text file, transformed",
      input: [{ path: "poem.txt", content: poem }],
      parameters: { args: ["POEM.txt"] },
      program: `for file in "$HPC_INPUT_DIR"/*/poem.txt; do tr a-z A-Z <"$file" >"$HPC_OUTPUT_DIR/$1"; done\n`,
      output: { "POEM.txt": poem.toUpperCase() },
    },
    {
      ...usual,
      name: "linecount",
      title: "three files, counted; the job names no profile",
      profile: null,
      input: Object.entries(samples).map(([path, content]) => ({ path, content })),
      program: [
        `cd "$HPC_INPUT_DIR"/*/samples`,
        `for file in *; do printf '%s\\t%s\\n' "$file" "$(wc -l <"$file" | tr -d ' ')"; done | LC_ALL=C sort >"$HPC_OUTPUT_DIR/lines.tsv"`,
        `echo "counted $(ls | wc -l | tr -d ' ') files"`,
        "",
      ].join("\n"),
      output: { "lines.tsv": lineCounts() },
    },
    {
      ...usual,
      name: "training",
      title: "says how far it is",
      input: [{ path: "poem.txt", content: poem }],
      // Somewhat longer than a poll each, so that at least every other epoch is seen.
      parameters: { args: [((1.2 * pollIntervalMs) / 1000).toFixed(1)] },
      phase: "training",
      program: [
        `for epoch in $(seq ${epochs}); do`,
        `  printf '{"phase": "training", "message": "epoch %d of ${epochs}", "progress": %s}\\n' "$epoch" \\`,
        `    "$(echo "$epoch" | awk '{ print $1 / ${epochs} }')" >>"$HPC_OUTPUT_DIR/.hpc_progress.jsonl"`,
        `  echo "epoch $epoch" >>"$HPC_OUTPUT_DIR/model.txt"`,
        `  sleep "$1"`,
        "done",
        "",
      ].join("\n"),
      output: { "model.txt": Array.from({ length: epochs }, (_, done) => `epoch ${done + 1}\n`).join("") },
    },
    {
      ...usual,
      name: "inplace",
      title: "leaves its output on the cluster (posix residence)",
      residence: "posix",
      input: [{ path: "poem.txt", content: poem }],
      program: `mkdir "$HPC_OUTPUT_DIR/sorted"\nsort "$HPC_INPUT_DIR"/*/poem.txt >"$HPC_OUTPUT_DIR/sorted/poem.txt"\n`,
      output: { "sorted/poem.txt": `${poem.trim().split("\n").sort().join("\n")}\n` },
    },
    {
      ...usual,
      name: "failure",
      title: "fails on purpose",
      input: [{ path: "poem.txt", content: poem }],
      program: `echo "${lastWords}" >&2\nexit 3\n`,
      status: "FAILED",
      detail: ["exit_code=3:0", lastWords],
      output: {},
    },
  ];
}

function lineCounts(): string {
  const lines = Object.entries(samples).map(([path, content]) => {
    const name = path.slice("samples/".length);
    return `${name}\t${content.split("\n").length - 1}`;
  });
  return `${lines.sort().join("\n")}\n`;
}
