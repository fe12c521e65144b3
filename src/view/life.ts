/**
 * The lives of a few jobs as they happen: on a terminal a block of lines that is drawn anew, elsewhere one plain line for
 * each change.
 */

import type { JobStatus } from "../job/status.ts";
import { escapeText } from "../log.ts";
import type { Colors } from "./lines.ts";

/** A job's status since when, with EMX2's detail. */
interface LifeStep {
  readonly to: JobStatus;
  /** Wall clock, milliseconds. */
  readonly at: number;
  readonly detail: string | null;
}

interface LifeView {
  show(jobId: string, steps: readonly LifeStep[]): void;
  end(): void;
}

interface Screen {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

const fallbackColumns = 80;

export function createLifeView(screen: Screen, colors: Colors, jobs: readonly (readonly [string, string])[]): LifeView {
  const names = new Map(jobs);
  const widest = Math.max(...jobs.map(([, name]) => name.length));
  const seen = new Map<string, readonly LifeStep[]>(jobs.map(([id]) => [id, []]));
  let drawn = 0;

  const draw = () => {
    const width = (screen.columns ?? fallbackColumns) - 1;
    const lines = [...seen].map(([id, steps]) => {
      const name = (names.get(id) ?? id).padEnd(widest);
      const path = steps.map(({ to }) => to).join(" > ");
      return `${name}  ${path}`.slice(0, width);
    });
    screen.write(`${drawn > 0 ? `\u001b[${drawn}A` : ""}${lines.map((line) => `\u001b[2K${line}\n`).join("")}`);
    drawn = lines.length;
  };

  return {
    show(jobId, steps) {
      const before = seen.get(jobId) ?? [];
      if (steps.length <= before.length) return;
      seen.set(jobId, [...steps]);
      if (screen.isTTY === true) return draw();
      for (const step of steps.slice(before.length))
        screen.write(`${plainLine(names.get(jobId) ?? jobId, step, colors, widest)}\n`);
    },
    end() {
      if (screen.isTTY === true) draw();
    },
  };
}

function plainLine(name: string, step: LifeStep, colors: Colors, widest: number): string {
  const time = new Date(step.at).toTimeString().slice(0, 8);
  const detail = step.detail === null ? "" : `  ${escapeText(step.detail.split("\n", 1)[0] ?? "")}`;
  return `${time}  ${name.padEnd(widest)}  ${colors.bold(step.to)}${detail}`;
}

/** Seconds from entering a status to the next one, such as `0.4 s`; `-` where it was never entered or never left. */
export function timeIn(status: JobStatus, steps: readonly LifeStep[]): string {
  const from = steps.findIndex(({ to }) => to === status);
  const entered = steps[from];
  const left = steps.slice(from + 1).find(({ to }) => to !== status);
  return entered && left ? `${((left.at - entered.at) / 1000).toFixed(1)} s` : "-";
}
