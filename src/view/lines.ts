/** Lines and tables for people: colours only on a terminal and not with NO_COLOR, and no word from outside unescaped. */
import { escapeText, wantsColor } from "../log.ts";
import { padded, wrapped } from "./width.ts";

type Paint = (text: string) => string;

export interface Colors {
  readonly good: Paint;
  readonly bad: Paint;
  readonly odd: Paint;
  readonly dim: Paint;
  readonly bold: Paint;
}

export function colorsOf(stream: { readonly isTTY?: boolean }): Colors {
  const on = wantsColor(stream, process.env);
  const paint =
    (code: number): Paint =>
    (text) =>
      on ? `\u001b[${code}m${text}\u001b[0m` : text;
  return { good: paint(32), bad: paint(31), odd: paint(33), dim: paint(2), bold: paint(1) };
}

export interface Checked {
  readonly item: string;
  readonly result: "ok" | "warning" | "failed";
  readonly detail: string;
  readonly fix?: string;
}

export function checkLine({ item, result, detail, fix }: Checked, colors: Colors): string {
  const paint = { ok: colors.good, warning: colors.odd, failed: colors.bad }[result];
  const line = `${paint(result.padEnd(7))}  ${escapeText(item)}: ${escapeText(detail)}`;
  return fix === undefined ? line : `${line}\n${" ".repeat(9)}${colors.dim("fix:")} ${escapeText(fix)}`;
}

/** The same within so many columns: its own line and that of its fix each go on under themselves. */
export function checkText(checked: Checked, { columns, colors }: { columns: number; colors: Colors }): string {
  const [line = "", ...fixes] = checkLine(checked, colors).split("\n");
  return [wrapped(line, columns, 9), ...fixes.map((fix) => wrapped(fix, columns, 14))].join("\n");
}

/** Columns as wide as their widest cell, two spaces between; the last one is not padded. */
export function table(header: readonly string[], rows: readonly (readonly string[])[], colors: Colors): string {
  const [title = "", ...lines] = aligned([header, ...rows.map((row) => row.map(escapeText))]);
  return [colors.bold(title), ...lines].join("\n");
}

/** The same of cells that are fit to be printed. */
export function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows)
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, Bun.stringWidth(cell));
  return rows.map((row) =>
    row
      .map((cell, column) => padded(cell, widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}
