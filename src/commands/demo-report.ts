/** What the demo says at its end: a line a job, then what each of them was there to show. */
import { escapeText } from "../log.ts";
import { percent, timeIn } from "../view/life.ts";
import { type Colors, table } from "../view/lines.ts";
import { padded, wrapped } from "../view/width.ts";
import { profileName } from "./demo-jobs.ts";
import type { Verdict } from "./demo-verdict.ts";

interface Look {
  readonly columns: number;
  readonly colors: Colors;
}

/** Statuses that a job passes through. */
const passed = ["PENDING", "CLAIMED", "SUBMITTED", "STARTED"] as const;

export function demoReport(verdicts: readonly Verdict[], look: Look): string {
  const { colors } = look;
  const faults = faultsOf(verdicts).map((fault) =>
    wrapped(`${colors.bad("wrong")}  ${fault}`, look.columns, "wrong  ".length),
  );
  const right = faults.length === 0;
  const close = right
    ? colors.good("All jobs came back as they should.")
    : colors.bad("Not all jobs came back as they should.");
  return [resultTable(verdicts, look), notes(verdicts, look), [...faults, close].join("\n")].join("\n\n");
}

/** What several jobs died of is told once. */
function faultsOf(verdicts: readonly Verdict[]): string[] {
  const byFault = Map.groupBy(
    verdicts.filter(({ wrong }) => wrong !== undefined),
    ({ wrong }) => wrong,
  );
  return [...byFault].map(([wrong = "", jobs]) => {
    return `${jobs.map(({ expected }) => expected.name).join(", ")}: ${escapeText(wrong)}`;
  });
}

/** Narrow enough for 80 columns; where there are fewer, the times are left out. */
function resultTable(verdicts: readonly Verdict[], { columns, colors }: Look): string {
  const shown = columns < 80 ? [] : passed;
  const rows = verdicts.map(({ expected, job, output, wrong }) => [
    expected.name,
    job.status,
    output ? `${output.sizeBytes ?? 0} B ${output.residence}` : "none",
    wrong === undefined ? "yes" : "NO",
    ...shown.map((status) => timeIn(status, job.transitions)),
  ]);
  return table(["job", "status", "output", "right", ...shown], rows, colors);
}

function notes(verdicts: readonly Verdict[], { columns }: Look): string {
  const indent = 2 + Math.max(...verdicts.map(({ expected }) => expected.name.length));
  return verdicts
    .flatMap((verdict) =>
      noteOf(verdict).map((line, index) => padded(index === 0 ? verdict.expected.name : "", indent) + line),
    )
    .map((line) => wrapped(line, columns, indent))
    .join("\n");
}

function noteOf({ expected, job, place, progress, wrong }: Verdict): string[] {
  const { title } = expected;
  if (wrong !== undefined) return [title];
  const last = progress.at(-1);
  if (last)
    return [
      `${title}: EMX2 was told ${times(progress.length)}, last "${escapeText(last.message ?? "")}" at ${percent(last.progress ?? 0)}`,
    ];
  if (place !== undefined) return [`${title}:`, escapeText(place)];
  if (job.profile === null) return [`${title}, so it was run with ${job.processor}/${profileName}`];
  if (job.status !== "FAILED") return [title];
  const detail = job.transitions.at(-1)?.detail ?? "";
  return [`${title}; EMX2 was told:`, ...detail.split("\n").map(escapeText)];
}

function times(count: number): string {
  return count === 1 ? "once" : `${count} times`;
}
