/**
 * Text and the columns that it takes: wide characters two, combining ones none, colours none. On a terminal lines are cut
 * or wrapped to fit; in a pipe they stay whole, for whatever reads them.
 */

export interface Screen {
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/** What is taken for granted where a terminal does not say, as on a serial line. */
const usualColumns = 80;
const fewestColumns = 20;

/** Infinity in a pipe. */
export function columnsOf({ isTTY, columns }: Screen, env: Readonly<Record<string, string | undefined>>): number {
  if (isTTY !== true) return Number.POSITIVE_INFINITY;
  const { COLUMNS } = env;
  return Math.max(fewestColumns, columns || Number(COLUMNS) || usualColumns);
}

/** Its beginning, with `…` for the rest where it is too wide. */
export function fitted(text: string, columns: number): string {
  if (Bun.stringWidth(text) <= columns) return text;
  // A wide character that stands across the end is taken along (Bun 1.4.5), ellipsis or not.
  const cut = Bun.sliceAnsi(text, 0, columns - 1);
  return `${Bun.stringWidth(cut) < columns ? cut : Bun.sliceAnsi(text, 0, columns - 2)}…`;
}

/** Filled up with spaces. */
export function padded(text: string, columns: number): string {
  return text + " ".repeat(Math.max(0, columns - Bun.stringWidth(text)));
}

/** One line, broken between words; a word that is too long stays whole, so that it can be copied. Further lines are indented. */
export function wrapped(text: string, columns: number, indent = 0): string {
  if (Bun.stringWidth(text) <= columns) return text;
  const body = Bun.wrapAnsi(Bun.sliceAnsi(text, indent), columns - indent);
  return Bun.sliceAnsi(text, 0, indent) + body.replaceAll("\n", `\n${" ".repeat(indent)}`);
}
