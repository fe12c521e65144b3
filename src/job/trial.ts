/**
 * A trial: a job whose batch script looks around before the workload starts. What it adds to `.emx2/`, and what is read of
 * what it leaves there (`trial.sh` says what). The job could have written it itself: it is shown to a person and decides
 * nothing.
 */
import lookScript from "./look.sh" with { type: "text" };
import trialScript from "./trial.sh" with { type: "text" };

export type TrialName = "trial.prelude" | "trial.asked" | "trial.heard" | "trial.node" | "trial.image";
/** By which the head node answers to `trial.asked`. */
export const trialAnswer = "trial.answer";

/** What a shell of the node, or of the image, has found; absent: it could not tell. */
export interface Look {
  readonly user?: string;
  /** As `uname -m` spells it. */
  readonly architecture?: string;
  readonly cpus?: number;
  /** Of its control group. */
  readonly memoryBytes?: number;
  readonly gpus: readonly string[];
  readonly places: Readonly<Record<Place, { readonly freeBytes?: number; readonly type?: string }>>;
}

export const places = ["work", "output", "tmp"] as const;
export type Place = (typeof places)[number];

export interface NodeLook extends Look {
  readonly name?: string;
  /** Asked of Slurm: `--mem`, and which GPUs it gave. */
  readonly slurmMemoryBytes?: number;
  readonly slurmGpus?: string;
  /** `apptainer version 1.4.5` */
  readonly starter?: string;
  readonly imageReadable?: boolean;
  readonly imageBytes?: number;
  readonly imageMtimeS?: number;
  readonly userNamespaces?: boolean;
  readonly fuse?: boolean;
  /** How long the image took to run a shell that does nothing, and the exit code of that. */
  readonly startMs?: number;
  readonly startExit?: number;
}

/** Milliseconds since 1970 by the node's clock. */
export interface Heard {
  readonly askedAt?: number;
  readonly heardAt?: number;
}

/** All that a trial has shown. */
export interface Shown {
  /** What the prelude has written. */
  readonly prelude?: string;
  readonly node?: NodeLook;
  readonly image?: Look;
  readonly files?: Visibility;
}

/** Between the node and this host, in milliseconds. */
export interface Visibility {
  /** From writing a file on the node to seeing there what was written here in answer. */
  readonly roundTripMs: number;
  /** How far the node's clock is ahead of this host's, give or take half of the round trip. */
  readonly clockAheadMs: number;
}

/** The files of a trial, and the line that runs it. `inside`: the words that run the image's /bin/sh, quoted for the shell. */
export function trialFiles(inside: readonly string[] | undefined) {
  const words = inside ? [`emx2_inside() { ${inside.join(" ")} "$@"; }`] : ["emx2_image="];
  return {
    files: [
      { name: "look.sh", content: lookScript },
      { name: "trial.sh", content: trialScript },
    ],
    lines: [...words, '( . "$emx2_dir/.emx2/trial.sh" ) </dev/null >"$emx2_dir/.emx2/trial.log" 2>&1 || :'],
  };
}

export function parseHeard(asked: string | undefined, heard: string | undefined): Heard {
  const askedAt = instant(asked);
  const heardAt = instant(heard);
  return { ...(askedAt !== undefined && { askedAt }), ...(heardAt !== undefined && { heardAt }) };
}

export function parseLook(text: string): Look {
  return lookIn(valuesOf(text));
}

export function parseNodeLook(text: string): NodeLook {
  const values = valuesOf(text);
  const word = (key: string) => values.get(key)?.at(-1) || undefined;
  const truth = (key: string) => (word(key) === undefined ? undefined : word(key) === "yes");
  const [bytes, mtime] = (word("image") ?? "").split(" ");
  const [began, ready] = [instant(word("began")), instant(word("ready"))];
  const megabytes = count(word("slurm_memory_mb"));
  return defined({
    ...lookIn(values),
    name: word("name"),
    slurmMemoryBytes: megabytes === undefined ? undefined : megabytes * 2 ** 20,
    slurmGpus: word("slurm_gpus"),
    starter: word("starter"),
    imageReadable: truth("image_readable"),
    imageBytes: count(bytes),
    imageMtimeS: count(mtime),
    userNamespaces: truth("user_namespaces"),
    fuse: truth("fuse"),
    startMs: began === undefined || ready === undefined ? undefined : Math.max(0, ready - began),
    startExit: count(word("started")),
  });
}

type Values = ReadonlyMap<string, readonly string[]>;

function lookIn(values: Values): Look {
  const word = (key: string) => values.get(key)?.at(-1) || undefined;
  const place = (name: Place) => {
    const free = count(word(`free_kib.${name}`));
    return defined({ freeBytes: free === undefined ? undefined : free * 1024, type: word(`type.${name}`) });
  };
  return defined({
    user: word("user"),
    architecture: word("arch"),
    cpus: count(word("cpus")),
    memoryBytes: count(word("memory_bytes")),
    gpus: values.get("gpu") ?? [],
    places: { work: place("work"), output: place("output"), tmp: place("tmp") },
  });
}

function valuesOf(text: string): Values {
  const values = new Map<string, string[]>();
  for (const line of text.split("\n")) {
    const at = line.indexOf("=");
    if (at > 0) values.set(line.slice(0, at), [...(values.get(line.slice(0, at)) ?? []), line.slice(at + 1).trim()]);
  }
  return values;
}

function count(word: string | undefined): number | undefined {
  return word !== undefined && /^\d{1,15}$/.test(word) ? Number(word) : undefined;
}

/** `1795436518.123456789`; a date(1) without `%N` leaves it as it is, or out. */
function instant(text: string | undefined): number | undefined {
  const match = /^(\d{9,11})(?:\.(\d{0,9}))?/.exec(text ?? "");
  return match ? Number(match[1]) * 1_000 + Math.round(Number(`0.${match[2] || 0}`) * 1_000) : undefined;
}

type Defined<T> = { [Key in keyof T]: Exclude<T[Key], undefined> };

/** Without what is not known. */
function defined<T extends object>(all: T): Defined<T> {
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as Defined<T>;
}
