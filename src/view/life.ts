/**
 * The lives of a few jobs as they happen: on a terminal a block of lines that is drawn anew, elsewhere one plain line for
 * each change.
 */
import type { JobStatus } from "../job/status.ts";
import { escapeText } from "../log.ts";
import type { Colors } from "./lines.ts";
import { fitted } from "./width.ts";

/** What EMX2 was told, when. */
interface LifeStep {
  readonly to: JobStatus;
  /** Wall clock, milliseconds. */
  readonly at: number;
  readonly detail: string | null;
  readonly message: string | null;
  /** In [0, 1]. */
  readonly progress: number | null;
}

interface LifeView {
  show(jobId: string, steps: readonly LifeStep[]): void;
  /** Writes to the same screen without spoiling the block. */
  aside(write: () => void): void;
}

export interface LifeScreen {
  readonly columns: number;
  /** It can be drawn upon: what was written can be written over. */
  readonly live: boolean;
  readonly colors: Colors;
  write(text: string): void;
}

/** `jobs`: ids and the names to show. */
export function createLifeView(screen: LifeScreen, jobs: readonly (readonly [id: string, name: string])[]): LifeView {
  const { live, columns, colors } = screen;
  const widest = Math.max(...jobs.map(([, name]) => name.length));
  const names = new Map(jobs.map(([id, name]) => [id, name.padEnd(widest)]));
  const seen = new Map<string, readonly LifeStep[]>(jobs.map(([id]) => [id, []]));
  let drawn = 0;

  const erase = () => {
    if (drawn > 0) screen.write(`\u001b[${drawn}A\u001b[0J`);
    drawn = 0;
  };
  const draw = () => {
    // A line in the last column would make some terminals begin another.
    const room = columns - widest - "  ".length - 1;
    const lines = [...seen].map(([id, steps]) => `${names.get(id)}  ${course(steps, colors, room)}`);
    screen.write(lines.map((line) => `${line}\n`).join(""));
    drawn = lines.length;
  };

  return {
    show(jobId, steps) {
      const before = seen.get(jobId) ?? [];
      if (steps.length <= before.length) return;
      seen.set(jobId, [...steps]);
      if (live) {
        erase();
        return draw();
      }
      for (const step of steps.slice(before.length))
        screen.write(`${fitted(`${clockTime(step)}  ${names.get(jobId)}  ${said(step)}`, columns)}\n`);
    },
    aside(write) {
      const was = drawn;
      erase();
      write();
      if (was > 0) draw();
    },
  };
}

/** The statuses so far, as far as there is room, and how far the present one has got. */
function course(steps: readonly LifeStep[], colors: Colors, room: number): string {
  const statuses = steps.map(({ to }) => to).filter((to, index, all) => to !== all[index - 1]);
  const last = steps.at(-1);
  const now = statuses.pop();
  if (!last || !now) return "";
  const paint = { COMPLETED: colors.good, FAILED: colors.bad, CANCELLED: colors.odd }[now as string] ?? colors.bold;
  const path = statuses.map((status) => `${status} > `).join("");
  const present = `${paint(now)}${last.progress === null ? "" : ` ${advance(last)}`}`;
  const whole = `${colors.dim(path)}${present}`;
  return Bun.stringWidth(whole) <= room ? whole : fitted(present, room);
}

/** One line of what EMX2 was told. */
function said(step: LifeStep): string {
  const words = step.progress === null ? (step.detail?.split("\n", 1)[0] ?? "") : advance(step);
  return `${step.to.padEnd("SUBMITTED".length)}  ${escapeText(words)}`.trimEnd();
}

function advance({ message, progress }: LifeStep): string {
  return `${percent(progress ?? 0)} ${escapeText(message ?? "")}`.trimEnd();
}

export function percent(fraction: number): string {
  return `${Math.round(fraction * 100)}%`;
}

function clockTime({ at }: LifeStep): string {
  return new Date(at).toTimeString().slice(0, "hh:mm:ss".length);
}

/** Seconds from entering a status to the next one, such as `0.4 s`; `-` where it was never entered or never left. */
export function timeIn(status: JobStatus, steps: readonly Pick<LifeStep, "to" | "at">[]): string {
  const from = steps.findIndex(({ to }) => to === status);
  const entered = steps[from];
  const left = steps.slice(from + 1).find(({ to }) => to !== status);
  return entered && left ? `${((left.at - entered.at) / 1000).toFixed(1)} s` : "-";
}
