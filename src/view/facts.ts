/** What both `status` and `explain` know and begin with: facts under their names, and whether a daemon runs. */
import type { Job } from "../job/job.ts";
import type { Holding } from "../journal/holding.ts";
import type { Overview } from "../journal/overview.ts";
import { escapeText } from "../log.ts";
import type { Colors } from "./lines.ts";
import { localTime, span } from "./when.ts";
import { wrapped } from "./width.ts";

export interface Facts {
  readonly jobs: readonly Job[];
  readonly overview: Overview | undefined;
  readonly writtenAt: number;
  readonly holding: Holding;
  readonly stateDir: string;
  /** Wall clock milliseconds. */
  readonly now: number;
}

export interface Look {
  /** Of the terminal; infinity in a pipe. */
  readonly columns: number;
  readonly colors: Colors;
}

const labelWidth = 10;

/** A fact under its name; what is too long for the terminal goes on beneath it. */
export function labelled(name: string, text: string, { columns, colors }: Look): string {
  const line = `${name.padEnd(labelWidth)}  ${escapeText(text)}`;
  const [first = "", ...more] = wrapped(line, columns, labelWidth + 2).split("\n");
  return [colors.bold(first.slice(0, labelWidth)) + first.slice(labelWidth), ...more].join("\n");
}

export type Fact = readonly [name: string, text: string];

export function daemonFacts({ holding, writtenAt, overview, now }: Facts): Fact[] {
  const age = span(Math.max(0, now - writtenAt));
  const asOf: Fact = ["as of", `${localTime(writtenAt)}, ${age} ago`];
  const worker: Fact[] = overview ? [["worker", overview.workerId]] : [];
  return [...worker, ["daemon", daemonText(holding, age)], asOf];
}

function daemonText(holding: Holding, age: string): string {
  if (holding.is === "nobody")
    return `none runs: this is how it was ${age} ago, and the next run or once goes on from there`;
  const holder = holding.holder.replace(/\d{4}-\S+Z$/, (at) => localTime(Date.parse(at)));
  return holding.is === "held" ? holder : `${holder}, but it has told nothing for ${age}: is it still there?`;
}
