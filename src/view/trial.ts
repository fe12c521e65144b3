/** What a trial shows at its end: what the job saw and used, its outputs, what EMX2 would be told, then the verdicts. */
import type { Outcome } from "../job/run.ts";
import type { JobStatus } from "../job/status.ts";
import { places, type Shown } from "../job/trial.ts";
import { gigabytes, usageWords } from "../job/usage.ts";
import { escapeText } from "../log.ts";
import { type Fact, type Look, labelled } from "./facts.ts";
import { timeIn } from "./life.ts";
import { type Checked, checkText } from "./lines.ts";
import { counted, size } from "./when.ts";
import { wrapped } from "./width.ts";

export interface TrialReport {
  readonly profile: string;
  readonly jobId: string;
  readonly slurmJobId?: string;
  readonly status: JobStatus;
  readonly steps: readonly { readonly to: JobStatus; readonly at: number }[];
  readonly outcome?: Outcome;
  readonly shown: Shown;
  readonly imageSha256?: string;
  readonly outputs: readonly { readonly path: string; readonly bytes: number; readonly sha256: string }[];
  /** What EMX2 was told at the end. */
  readonly detail?: string;
  /** The directory that stays. */
  readonly kept?: string;
  readonly verdicts: readonly Checked[];
}

const mostOutputs = 20;

export function trialText(report: TrialReport, look: Look): string {
  const { outputs, verdicts, detail } = report;
  const named = outputs
    .slice(0, mostOutputs)
    .map(({ path, bytes, sha256 }) => `${sha256}  ${escapeText(path)} (${size(bytes)})`);
  const more = outputs.length - named.length;
  const said = (detail ?? "").split("\n").map((line) => wrapped(`  ${escapeText(line)}`, look.columns, 4));
  const { bold } = look.colors;
  return [
    factsOf(report).map(([name, text]) => labelled(name, text, look)),
    named.length === 0
      ? []
      : [bold("outputs (SHA-256)"), ...named, ...(more > 0 ? [`and ${counted(more, "more file")}`] : [])],
    detail === undefined ? [] : [bold("EMX2 would have been told"), ...said],
    verdicts.map((verdict) => checkText(verdict, look)),
  ]
    .filter((block) => block.length > 0)
    .map((block) => block.join("\n"))
    .join("\n\n");
}

/** For a program; what is not known is absent, and times are seconds. */
export function trialJson(report: TrialReport): object {
  const { profile, jobId, slurmJobId, status, steps, outcome, shown, imageSha256, outputs, verdicts, detail, kept } =
    report;
  return {
    profile,
    jobId,
    slurmJobId,
    status,
    detail,
    states: steps.map(({ to, at }) => ({ status: to, at: new Date(at).toISOString() })),
    queueSeconds: secondsIn("SUBMITTED", report),
    runSeconds: secondsIn("STARTED", report),
    node: outcome?.node ?? shown.node?.name,
    slurmState: outcome?.state,
    exitCode: outcome?.exitCode,
    used: outcome?.used,
    saw: { node: shown.node, image: shown.image },
    filesBetweenNodeAndHere: shown.files,
    imageSha256,
    outputs,
    verdicts,
    kept,
  };
}

function secondsIn(status: JobStatus, { steps }: TrialReport): number | undefined {
  const words = timeIn(status, steps);
  return words === "-" ? undefined : Number.parseFloat(words);
}

function factsOf(report: TrialReport): Fact[] {
  const { profile, jobId, slurmJobId, status, steps, outcome, shown, imageSha256, kept } = report;
  const { node, image } = shown;
  const saw = image ?? node;
  const limit = node?.memoryBytes ?? image?.memoryBytes;
  const optional = (name: string, text: string | undefined): Fact[] => (text ? [[name, text]] : []);
  return [
    ["profile", profile],
    ["job", `${jobId}${slurmJobId === undefined ? "" : `, Slurm's ${slurmJobId}`}`],
    ["status", [status, outcome?.state].filter((word) => word !== undefined).join(", in Slurm ")],
    ["queue", timeIn("SUBMITTED", steps)],
    ["run", [timeIn("STARTED", steps), outcome?.node && `on ${outcome.node}`].filter(Boolean).join(" ")],
    ...optional("used", outcome?.used && usageWords(outcome.used)),
    ...optional("user", saw?.user),
    ...optional("CPUs", saw?.cpus?.toString()),
    ...optional("memory", memoryText(limit, node?.slurmMemoryBytes)),
    ...optional("GPUs", saw && (saw.gpus.length === 0 ? "none" : saw.gpus.join(", "))),
    ...optional("free", roomText(shown)),
    ...optional("image", imageSha256 && `sha256 ${imageSha256}`),
    ...optional("kept", kept && `${kept} (until you remove it)`),
  ];
}

function memoryText(limit: number | undefined, asked: number | undefined): string | undefined {
  if (limit !== undefined) return `${gigabytes(limit)}, its control group's limit`;
  return asked === undefined ? undefined : `${gigabytes(asked)} asked of Slurm, and no limit that a control group sets`;
}

/** Free space in each of the job's directories, as the job saw it. */
function roomText({ node, image }: Shown): string | undefined {
  const known = places.flatMap((place) => {
    const of = image?.places[place].freeBytes === undefined ? node : image;
    const { freeBytes, type } = of?.places[place] ?? {};
    return freeBytes === undefined ? [] : [`${place} ${size(freeBytes)}${type === undefined ? "" : ` (${type})`}`];
  });
  return known.length === 0 ? undefined : known.join(", ");
}
