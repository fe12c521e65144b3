/**
 * The batch script on a compute node, played over job directories in memory as src/job/job.sh does it: lease, `lost`, start,
 * stop and exit receipts with their restart counts, outputs of a run of its own in a directory of its own.
 */
import { outputDirectory } from "../../src/job/outcome.ts";
import type { MemoryFiles } from "./memory-files.ts";

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

export interface NodeView extends Pick<MemoryFiles, "has" | "linkAt"> {
  /** As a node writes: other hosts may see it later. */
  put(dir: string, path: string, content: string): void;
  symlink(dir: string, path: string, target: string): void;
}

export const leaseLost = 93;
export const directoryUnusable = 94;

export class BatchScript {
  readonly #run: BatchRun;
  readonly #files: NodeView;
  readonly #seconds: () => number;
  #startedAt = 0;
  #signal: { readonly name: string; readonly at: number } | undefined;

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
    if (this.#signal || !this.#files.has(this.#run.dir)) return;
    this.#signal = { name, at: this.#seconds() };
    this.#write("stop", { start: this.#startedAt, signal: name, at: this.#signal.at });
  }

  /** What the workload leaves; `whole` where it came to its end. */
  leave(content: string): void {
    const { dir, attempt, restart } = this.#run;
    if (this.#files.has(dir)) this.#files.put(dir, `${outputDirectory(attempt, restart)}/result.txt`, content);
  }

  end(exit: number, oomKills: number): void {
    const { dir, id } = this.#run;
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

  #write(kind: "start" | "stop" | "exit", facts: object): void {
    this.#put(`${kind}.${this.#run.attempt}.${this.#run.restart}`, facts);
  }

  #put(name: string, facts: object): void {
    const { dir, attempt, id, restart, node } = this.#run;
    this.#files.put(dir, `.emx2/${name}`, JSON.stringify({ v: 1, attempt, job: id, restart, node, ...facts }));
  }
}
