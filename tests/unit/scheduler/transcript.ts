/** Real transcripts in `tests/fixtures/slurm/<version>/`: `$ command`, then `out| …` and `err| …` lines, then `rc=N`. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Completed } from "../../../src/subprocess.ts";

const directory = join(import.meta.dir, "../../fixtures/slurm");

export const versions = readdirSync(directory).sort();

export interface Transcript extends Completed {
  readonly version: string;
  readonly name: string;
}

export function transcript(version: string, name: string): Transcript {
  const [command = "", ...lines] = readFileSync(join(directory, version, `${name}.txt`), "utf8").split("\n");
  const said = (mark: string) =>
    lines.flatMap((line) => (line.startsWith(mark) ? [line.slice(mark.length)] : [])).join("\n");
  return {
    ...{ version, name, argv: wordsOf(command.replace(/^\$ /, "")) },
    ...{ exitCode: Number(said("rc=")), signal: null, timedOut: false, aborted: false, spawnError: null },
    ...{ truncated: false, stdout: said("out| "), stderr: said("err| "), durationMs: 0 },
  };
}

/** Every transcript of one of Slurm's programs. */
export function transcriptsOf(program: string): Transcript[] {
  return versions.flatMap((version) =>
    readdirSync(join(directory, version))
      .filter((file) => file.startsWith(`${program}-`))
      .map((file) => transcript(version, file.replace(/\.txt$/, ""))),
  );
}

function wordsOf(command: string): string[] {
  return (command.match(/'[^']*'|\S+/g) ?? []).map((word) => word.replace(/^'|'$/g, ""));
}
