/** Lines and tables for people: colours only on a terminal and not with NO_COLOR, and no word from outside unescaped. */
import { escapeText, wantsColor } from "../log.ts";

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

interface Checked {
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

/** Columns as wide as their widest cell, two spaces between; the last one is not padded. */
export function table(header: readonly string[], rows: readonly (readonly string[])[], colors: Colors): string {
  const safe = rows.map((row) => row.map(escapeText));
  const widths = header.map((title, column) => Math.max(title.length, ...safe.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => (column === cells.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)))
      .join("  ")
      .trimEnd();
  return [colors.bold(line(header)), ...safe.map(line)].join("\n");
}
