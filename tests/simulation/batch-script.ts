/**
 * The batch script on a compute node, played over job directories in memory as src/job/job.sh does it: lease, `lost`, start,
 * stop and exit receipts with their restart counts, outputs of a run of its own in a directory of its own, and the seal.
 */
import { createHash } from "node:crypto";
import { outputDirectory } from "../../src/job/outcome.ts";
import type { SimulatedFiles } from "./memory-files.ts";

export interface BatchRun {
  readonly jobId: string;
  readonly dir: string;
  readonly attempt: string;
  /** SLURM_JOB_ID */
  readonly id: string;
  /** SLURM_RESTART_COUNT */
  readonly restart: number;
  readonly node: string;
}

export interface NodeView extends Pick<SimulatedFiles, "has" | "linkAt" | "below"> {
  /** As a node writes: other hosts may see it later. */
  put(dir: string, path: string, content: string): void;
  symlink(dir: string, path: string, target: string): void;
}

/** What each workload leaves. */
export const outputs = ["more/result.txt", "result.txt"] as const;

export const leaseLost = 93;
export const directoryUnusable = 94;

export const straggled = "written when all was over\n";

export class BatchScript {
  readonly #run: BatchRun;
  readonly #files: NodeView;
  readonly #seconds: () => number;
  #startedAt = 0;
  #signal: { readonly name: string; readonly at: number } | undefined;
  #exit: number | undefined;

  constructor(run: BatchRun, files: NodeView, seconds: () => number) {
    this.#run = run;
    this.#files = files;
    this.#seconds = seconds;
  }

  /** Up to the start of the workload. Not undefined: the script has ended with this exit code, and no workload was started. */
  begin(): number | undefined {
    const { dir, attempt, id, restart, node } = this.#run;
    if (!this.#files.has(dir)) return directoryUnusable;
    const taken =
      this.#take(`lease.${attempt}`, id) && this.#take(`lease.${attempt}.${restart}`, `${id}.${restart}.${node}.1`);
    if (!taken) return leaseLost;
    this.#startedAt = this.#seconds();
    this.#write("start", { pid: 1, start: this.#startedAt });
    return undefined;
  }

  /** A signal that reaches the script before its workload has ended. The first is the cause. */
  signal(name: string): void {
    if (this.#signal || this.hasEnded || !this.#files.has(this.#run.dir)) return;
    this.#signal = { name, at: this.#seconds() };
    this.#write("stop", { start: this.#startedAt, signal: name, at: this.#signal.at });
  }

  /** What the workload leaves; `whole` where it came to its end. */
  leave(content: string): void {
    const { dir } = this.#run;
    if (this.#files.has(dir)) for (const path of outputs) this.#files.put(dir, `${this.#output}/${path}`, content);
  }

  /** The workload has; the script may still be at its seal. */
  get hasEnded(): boolean {
    return this.#exit !== undefined;
  }

  end(exit: number, oomKills: number): void {
    const { dir, id } = this.#run;
    this.#exit = exit;
    if (!this.#files.has(dir)) return;
    this.#files.put(dir, `.emx2/slurm-${id}.out`, "done\n");
    this.#files.put(dir, `.emx2/slurm-${id}.err`, "");
    this.#write("exit", {
      start: this.#startedAt,
      end: this.#seconds(),
      how: "exit",
      exit,
      signal: this.#signal?.name ?? null,
      signal_at: this.#signal?.at ?? 0,
      oom_kill: oomKills,
    });
  }

  get mayBeSealed(): boolean {
    return this.#exit === 0 && this.#signal === undefined && this.#files.has(this.#run.dir);
  }

  seal(): void {
    if (!this.mayBeSealed) return;
    const { dir, attempt, restart } = this.#run;
    const found = [...this.#files.below(dir, this.#output)].map(([path, { bytes, mtimeMs }]) => ({
      listed: `${bytes.length} ${(mtimeMs / 1_000).toFixed(10)} ${path}\0`,
      hashed: `${sha256(bytes)} *./${path}\0`,
    }));
    const records = [...found.map(({ listed }) => listed), ...found.map(({ hashed }) => hashed)];
    const manifest = Buffer.from(records.join(""));
    this.#files.put(dir, `.emx2/manifest.${attempt}.${restart}`, manifest.toString());
    this.#write("done", { exit: this.#exit, manifest_sha256: sha256(manifest) });
  }

  /** It has not what a seal takes, or somebody still writes. */
  giveUpSeal(): void {
    if (this.mayBeSealed) this.#write("done", { exit: this.#exit, manifest_sha256: null });
  }

  /** A process that the workload has left behind writes on. False: it comes too late, the directory is gone. */
  straggle(): boolean {
    const { dir } = this.#run;
    const path = `${this.#output}/${outputs[0]}`;
    if (!this.#files.below(dir, this.#output).has(outputs[0])) return false;
    this.#files.put(dir, path, straggled);
    return true;
  }

  get #output(): string {
    return outputDirectory(this.#run.attempt, this.#run.restart);
  }

  #take(name: string, value: string): boolean {
    const { dir, attempt, id, restart } = this.#run;
    const holder = this.#files.linkAt(dir, `.emx2/${name}`);
    if (holder === undefined) {
      this.#files.symlink(dir, `.emx2/${name}`, value);
      return true;
    }
    if (holder === value) return true;
    this.#put(`lost.${attempt}.${id}.${restart}`, { holder, at: this.#seconds() });
    return false;
  }

  #write(kind: "start" | "stop" | "exit" | "done", facts: object): void {
    this.#put(`${kind}.${this.#run.attempt}.${this.#run.restart}`, facts);
  }

  #put(name: string, facts: object): void {
    const { dir, attempt, id, restart, node } = this.#run;
    this.#files.put(dir, `.emx2/${name}`, JSON.stringify({ v: 1, attempt, job: id, restart, node, ...facts }));
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
