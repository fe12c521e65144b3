/**
 * Where the executable with failpoints ends itself, as the machine would: EMX2_FAILPOINT=KIND[/DETAIL]:EDGE[:COUNT], with
 * a kind of effect, its role or status where only those are meant, and the how-manieth time. Edges: `before` the effect,
 * its intent being on disk; `after` it, its result not yet recorded; its result `recorded`, on disk.
 */
import type { Effect } from "../../src/job/effect.ts";

export const edges = ["before", "after", "recorded"] as const;
export type Edge = (typeof edges)[number];

interface Failpoint {
  readonly what: string;
  readonly edge: Edge;
  readonly count: number;
}

const chosen = read(process.env["EMX2_FAILPOINT"]);
let met = 0;

/** Is this where the process is to end? Counts the times that it was asked at the chosen edge of the chosen effect. */
export function isMet(effect: Effect, edge: Edge): boolean {
  if (chosen === undefined || chosen.edge !== edge || !isAbout(effect, chosen.what)) return false;
  met += 1;
  return met === chosen.count;
}

/** `what`: KIND[/DETAIL] */
export function isAbout(effect: Effect, what: string): boolean {
  const detail = "role" in effect ? effect.role : effect.kind === "Report" ? effect.report.status : "";
  return what === effect.kind || what === `${effect.kind}/${detail}`;
}

/** Nothing runs after this: no handler, no flush, no farewell to children. */
export function end(): void {
  process.kill(process.pid, "SIGKILL");
}

function read(text: string | undefined): Failpoint | undefined {
  if (text === undefined) return undefined;
  const [what = "", word, count = "1"] = text.split(":");
  const edge = edges.find((known) => known === word);
  if (edge === undefined || !/^[1-9]\d*$/.test(count)) throw new Error(`EMX2_FAILPOINT is no failpoint: ${text}`);
  return { what, edge, count: Number(count) };
}
