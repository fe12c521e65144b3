/** Instants and sizes as a person reads them. */

const units = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["min", 60_000],
  ["s", 1_000],
] as const;

/** Its largest unit and the next: `3 d 4 h`, `12 min`, `8 s`. */
export function span(ms: number): string {
  const first = units.findIndex(([, unitMs]) => ms >= unitMs);
  const [unit, unitMs] = units[first] ?? ["s", 1_000];
  const count = Math.max(0, Math.floor(ms / unitMs));
  const [nextUnit, nextMs] = units[first + 1] ?? [];
  const rest = nextMs === undefined || count >= 10 ? 0 : Math.floor((ms % unitMs) / nextMs);
  return rest > 0 ? `${count} ${unit} ${rest} ${nextUnit}` : `${count} ${unit}`;
}

/** `2026-11-23 00:06:49 +01:00`: the reader's own time, and which that is. */
export function localTime(at: number): string {
  return `${localSecond(at)} ${zone(at)}`;
}

/** The same without its zone, for a list that names it once. */
export function localSecond(at: number): string {
  const date = new Date(at);
  const day = [date.getFullYear(), date.getMonth() + 1, date.getDate()].map(twoDigits).join("-");
  return `${day} ${[date.getHours(), date.getMinutes(), date.getSeconds()].map(twoDigits).join(":")}`;
}

export function zone(at: number): string {
  const minutes = -new Date(at).getTimezoneOffset();
  const of = Math.abs(minutes);
  return `${minutes < 0 ? "-" : "+"}${twoDigits(Math.floor(of / 60))}:${twoDigits(of % 60)}`;
}

/** For a program to read; `null` where there is none, or where it is no instant at all. */
export function isoTime(at: number | undefined): string | null {
  return at === undefined || Number.isNaN(new Date(at).getTime()) ? null : new Date(at).toISOString();
}

export function size(bytes: number): string {
  const names = ["B", "kB", "MB", "GB", "TB", "PB"];
  const power = Math.min(names.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)));
  const value = bytes / 1000 ** power;
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${names[power]}`;
}

export function counted(count: number, noun: string): string {
  return `${count} ${count === 1 ? noun : /y$/.test(noun) ? noun.replace(/y$/, "ies") : `${noun}s`}`;
}

function twoDigits(value: number): string {
  return String(value).padStart(2, "0");
}
