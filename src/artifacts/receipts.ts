/**
 * What the batch script left in `.emx2/` of one attempt, R being Slurm's restart count:
 *
 *   lease.<attempt>      symlink -> scheduler id       whose run the attempt is; `closed`, `closed.<id>`: by the daemon
 *   lease.<attempt>.<R>  symlink -> id.R.node.pid      that run R of it was begun
 *   start. stop. exit. done.<attempt>.<R>              JSON, each written whole by rename
 *   lost.<attempt>.<id>.<R>                            JSON: <id> found the lease taken
 *
 * The workload runs as the same user and could have written any of it: what does not parse, or names another run than
 * its file name says, does not exist. No receipt means unknown, never dead.
 */
import * as v from "valibot";
import { closedLease, holderOfLease, type Receipts, schedulerIdPattern } from "../job/run.ts";

/** Of a receipt, in bytes; real ones have some 300. */
export const maxReceiptBytes = 64 * 1024;
const maxTwins = 1000;

/** How `.emx2/` is looked at: the names in it, and one entry of it (null: gone). */
interface ControlView {
  readonly names: readonly string[];
  link(name: string): Promise<string | null>;
  file(name: string): Promise<{ readonly text: string } | { readonly unreadable: string } | null>;
}

const seconds = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(2 ** 40));
const signalName = v.pipe(v.string(), v.regex(/^[A-Z0-9+-]{1,16}$/));
/** -1 is what bash 5.2's `wait` answers under traps; then the script says `wrapper-killed`. */
const exitCode = v.pipe(v.number(), v.integer(), v.minValue(-1), v.maxValue(255));
const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const head = {
  v: v.literal(1),
  attempt: v.string(),
  job: v.string(),
  restart: count,
  node: v.pipe(v.string(), v.maxLength(255)),
};

const Start = v.object({ ...head, start: seconds });
const Stop = v.object({ ...head, signal: signalName, at: seconds });
const Exit = v.object({
  ...head,
  start: seconds,
  end: seconds,
  how: v.picklist(["exit", "wrapper-killed"]),
  exit: exitCode,
  signal: v.nullable(signalName),
  oom_kill: v.nullable(count),
  /** Absent in those of scripts that were written by earlier versions. */
  unstarted: v.nullish(v.boolean()),
  other_image: v.optional(v.boolean()),
});
const Done = v.object({
  ...head,
  exit: exitCode,
  manifest_sha256: v.nullable(v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/))),
});

type Receipt = v.GenericSchema<unknown, { attempt: string; job: string; restart: number }>;

/** The receipts of the newest run of `attempt`. `warn` hears of each file that had to be left aside. */
export async function readReceipts(
  attempt: string,
  control: ControlView,
  warn: (message: string) => void,
): Promise<Receipts> {
  const lost = twins(attempt, control.names);
  const target = await control.link(`lease.${attempt}`);
  const lease = target === null ? undefined : holderOfLease(target);
  if (lease === undefined) {
    if (target !== null && target !== closedLease) warn(`lease.${attempt} names no scheduler id`);
    return { directory: true, restart: 0, lost };
  }
  const restart = newestRestart(attempt, control.names);

  async function receipt<S extends Receipt>(kind: string, schema: S): Promise<v.InferOutput<S> | undefined> {
    const name = `${kind}.${attempt}.${restart}`;
    if (!control.names.includes(name)) return undefined;
    const file = await control.file(name);
    if (file === null) return undefined;
    const read = "unreadable" in file ? file.unreadable : parse(schema, file.text);
    if (typeof read === "string") {
      warn(`${name} is left aside: it ${read}`);
      return undefined;
    }
    const { output } = read;
    if (output.attempt === attempt && output.restart === restart && output.job === lease) return output;
    warn(`${name} is left aside: it is about another run`);
    return undefined;
  }

  const start = await receipt("start", Start);
  const stop = await receipt("stop", Stop);
  const exit = await receipt("exit", Exit);
  const done = await receipt("done", Done);
  return {
    directory: true,
    lease,
    restart,
    ...(start && { start: { node: start.node, at: start.start } }),
    ...(stop && { stop: { signal: stop.signal, at: stop.at } }),
    ...(exit && {
      exit: {
        exit: exit.exit,
        how: exit.how,
        signal: exit.signal,
        oomKill: exit.oom_kill,
        ...(typeof exit.unstarted === "boolean" ? { unstarted: exit.unstarted } : {}),
        ...(exit.other_image ? { otherImage: true } : {}),
        node: exit.node,
        start: exit.start,
        end: exit.end,
      },
    }),
    ...(done && { done: { exit: done.exit, manifestSha256: done.manifest_sha256 } }),
    lost,
  };
}

function parse<S extends v.GenericSchema>(schema: S, text: string): { output: v.InferOutput<S> } | string {
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), schema), text);
  return parsed.success ? { output: parsed.output } : "does not hold what a receipt holds";
}

/** 0 also where none has begun. */
export function newestRestart(attempt: string, names: readonly string[]): number {
  const prefix = `lease.${attempt}.`;
  const restarts = names
    .filter((name) => name.startsWith(prefix))
    .map((name) => name.slice(prefix.length))
    .filter((restart) => /^\d{1,6}$/.test(restart))
    .map(Number);
  return restarts.reduce((newest, restart) => Math.max(newest, restart), 0);
}

/** Of twins the name says all; the script writes it by rename. */
function twins(attempt: string, names: readonly string[]): string[] {
  const prefix = `lost.${attempt}.`;
  const ids = new Set<string>();
  for (const name of names) {
    if (!name.startsWith(prefix)) continue;
    const [id, restart, ...rest] = name.slice(prefix.length).split(".");
    if (id && restart && rest.length === 0 && schedulerIdPattern.test(id) && ids.size < maxTwins) ids.add(id);
  }
  return [...ids].sort();
}
