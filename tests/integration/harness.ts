/**
 * A stage for the whole program: an EMX2 on a real socket, a configuration with its secret and its host programs in a
 * directory of its own, fake Slurm programs where they are wanted, and the compiled executable as often as a test starts
 * it. Every host program first appends its job's id to a ledger, so that a test knows how often a workload really ran.
 * Opened with `await using`; then whatever was started is ended by its pid, and the directory is removed.
 */
import {
  chmodSync,
  existsSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Clock, systemClock } from "../../src/clock.ts";
import { type ServeOptions, serve } from "../../src/emulator/serve.ts";
import type { EmulatorState, StoredJob } from "../../src/emulator/state.ts";
import {
  addArtifact,
  addJob,
  addSharedSecret,
  addWorkerCredential,
  job,
  type NewContent,
} from "../../src/emulator/submitter.ts";
import { isTerminal } from "../../src/job/status.ts";
import { installFakeSlurm } from "../fake-slurm/install.ts";
import { type Account, type Program, startProgram } from "./program.ts";
import { killStrays } from "./strays.ts";
import { until } from "./until.ts";

/** YAML keys of a block of the configuration. */
export type Keys = Readonly<Record<string, unknown>>;
export type Around = NonNullable<ServeOptions["around"]>;

export interface StageOptions {
  /** Of EMX2. */
  readonly generation?: ServeOptions["generation"];
  /** EMX2 keeps large content in a directory of the stage, `content/`; else in memory. */
  readonly largeOnDisk?: boolean;
  /** EMX2's own, where it is apart from everybody's. */
  readonly clock?: Clock;
  /** Made in the stage's directory. */
  readonly directories?: readonly string[];
  /**
   * By processor; each becomes the profile `<processor>/default`. `program`: lines of sh, run on the host; the other keys are
   * YAML's.
   */
  readonly profiles?: Readonly<Record<string, { readonly program?: string } & Keys>>;
  readonly emx2?: Keys;
  readonly worker?: Keys;
  /** Where `bin_dir` is not among them, fake programs are installed and named. */
  readonly slurm?: Keys;
  readonly apptainer?: Keys;
  /** Who runs the daemon; else whoever runs the tests. */
  readonly as?: Account;
  /** Added to the environment of every program that is started. */
  readonly env?: Readonly<Record<string, string>>;
  /** The directory above the stage's own. */
  readonly parent?: string;
}

export interface Submission {
  readonly files?: readonly NewContent[];
  readonly parametersText?: string;
  readonly timeoutSeconds?: number | null;
  /** The input's files lie in this directory: EMX2 gets their names and hashes alone. */
  readonly posix?: string;
}

export interface Stage extends AsyncDisposable {
  readonly dir: string;
  readonly configFile: string;
  readonly stateDir: string;
  /** Job directories: `<jobsDir>/<job id>`. */
  readonly jobsDir: string;
  /** Of the fake Slurm programs: what `callsOf` takes, and where their faults are switched on. */
  readonly slurmDir: string;
  readonly workerId: string;
  readonly secret: string;
  readonly url: string;
  readonly state: EmulatorState;
  /** `METHOD /path?query` of every request that has come. */
  readonly requests: readonly string[];
  /** Stands between EMX2 and its clients while it is set. */
  around: Around | undefined;
  /** Starts the executable with this stage's configuration. */
  start(...args: string[]): Program;
  /** Starts the one that ends itself at this failpoint (tests/fault/failpoint.ts). */
  startFailing(failpoint: string, ...args: string[]): Program;
  submit(processor: string, submission?: Submission): string;
  job(id: string): StoredJob;
  /** Job ids, one for each start of a workload. */
  ledger(): string[];
  until<T>(what: string, look: () => T | Promise<T>, boundMs?: number): Promise<NonNullable<T>>;
  untilStatus(id: string, status: StoredJob["status"], boundMs?: number): Promise<void>;
  /** EMX2 is gone from its port, and comes back there. */
  disconnect(): Promise<void>;
  reconnect(): Promise<void>;
}

const usualBoundMs = 20_000;
const bugExitCode = 70;
const workerId = "stage-worker";
const copyInputs = { copy: { program: 'cat "$HPC_INPUT_DIR"/*/* >"$HPC_OUTPUT_DIR/copy.bin"' } };

export async function openStage(options: StageOptions = {}): Promise<Stage> {
  const dir = mkdtempSync(join(options.parent ?? tmpdir(), "emx2-stage-"));
  const requests: string[] = [];
  const programs: Program[] = [];
  const secret = `secret-${systemClock.uuid()}`;
  const { clock = systemClock } = options;
  let server = await serve({
    clock,
    ...(options.generation && { generation: options.generation }),
    ...(options.largeOnDisk && { contentDir: join(dir, "content") }),
    around: (request, answer) => pass(request, answer),
  });
  addWorkerCredential(server.state, workerId, secret);
  addSharedSecret(server.state, secret);
  const { url, state } = server;
  furnish(dir, url, secret, options);

  const pass: Around = (request, answer) => {
    requests.push(`${request.method} ${request.url.replace(/^https?:\/\/[^/]*/, "")}`);
    return stage.around ? stage.around(request, answer) : answer();
  };
  /** A program that ended as our bug ends every wait. */
  const alert =
    <T>(look: () => T) =>
    () => {
      if (programs.some((program) => program.exitCode() === bugExitCode)) throw new Error(story());
      return look();
    };
  const story = () => programs.map((program) => lastWords(program.stderr())).join("\n");
  const startOne = (args: readonly string[], failpoint?: string) => {
    const run = { env: environment(dir, options), cwd: dir, ...(options.as && { as: options.as }) };
    const failing = failpoint === undefined ? {} : { failpoint };
    const program = startProgram(["-c", join(dir, "config.yaml"), ...args], { ...run, ...failing });
    programs.push(program);
    return program;
  };
  const stage: Stage = {
    dir,
    configFile: join(dir, "config.yaml"),
    stateDir: join(dir, "state"),
    jobsDir: join(dir, "jobs"),
    slurmDir: join(dir, "slurm"),
    workerId,
    secret,
    url,
    state,
    requests,
    around: undefined,
    start: (...args) => startOne(args),
    startFailing: (failpoint, ...args) => startOne(args, failpoint),
    submit(processor, { files, posix, parametersText = "{}", timeoutSeconds = null } = {}) {
      const place = posix === undefined ? {} : { contentUrl: pathToFileURL(posix).href };
      const inputs = files === undefined ? null : [addArtifact(state, { files, ...place })];
      return addJob(state, { processor, profile: "default", inputs, parametersText, timeoutSeconds });
    },
    job: (id) => job(state, id),
    ledger: () => linesOf(join(dir, "ledger")),
    until: (what, look, boundMs = usualBoundMs) => until(what, alert(look), boundMs, story),
    async untilStatus(id, status, boundMs = usualBoundMs) {
      const seen = () => job(state, id).transitions.map(({ to, detail }) => `${to} ${detail ?? ""}`);
      const told = () => [...seen(), story()].join("\n");
      const look = alert(() => {
        const now = job(state, id).status;
        if (now !== status && isTerminal(now)) throw new Error(`job ${id} is ${now}\n${told()}`);
        return now === status;
      });
      await until(`job ${id} is ${status}`, look, boundMs, told);
    },
    disconnect: () => server.stop(),
    async reconnect() {
      server = await serve({ clock, state, port: Number(new URL(url).port), around: pass });
    },
    async [Symbol.asyncDispose]() {
      for (const program of programs) program.kill("SIGKILL");
      await Promise.all(programs.map((program) => program.ended()));
      await killStrays(dir);
      await server.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
  return stage;
}

/** The statuses that a job went through, each once. */
export function statusesOf({ transitions }: StoredJob): string[] {
  return transitions.map(({ to }) => to).filter((to, index, all) => to !== all[index - 1]);
}

/** Writes what the daemon needs before it starts. */
function furnish(dir: string, url: string, secret: string, options: StageOptions): void {
  for (const part of ownDirectories(options)) mkdirSync(join(dir, part));
  writeFileSync(join(dir, "ledger"), "");
  writeFileSync(join(dir, "secret"), `${secret}\n`, { mode: 0o600 });
  const slurm = options.slurm?.["bin_dir"] ? {} : { bin_dir: installFakeSlurm(join(dir, "slurm")) };
  const profiles = Object.entries(options.profiles ?? copyInputs).map(([processor, { program, ...keys }]) => {
    if (program === undefined) return [`${processor}/default`, { cpus: 1, time: "5", ...keys }];
    const entrypoint = join(dir, "programs", `${processor}.sh`);
    const ledger = `printf '%s\\n' "$HPC_JOB_ID" >>'${join(dir, "ledger")}'`;
    writeFileSync(entrypoint, `#!/bin/sh\nset -eu\n${ledger}\n${program}\n`);
    chmodSync(entrypoint, 0o755);
    return [`${processor}/default`, { host_entrypoint: entrypoint, cpus: 1, time: "5", ...keys }];
  });
  const config = {
    emx2: { base_url: url, worker_id: workerId, worker_secret_file: "secret", ...options.emx2 },
    worker: { poll_interval_seconds: 0.2, state_dir: "state", min_free_disk: 0, ...options.worker },
    slurm: { ...slurm, max_submissions_per_minute: 6_000, ...options.slurm },
    profiles: Object.fromEntries(profiles),
    apptainer: { tmp_dir: "jobs", ...options.apptainer },
  };
  // JSON is YAML.
  writeFileSync(join(dir, "config.yaml"), `${JSON.stringify(config, null, 2)}\n`);
  if (options.as) giveTo(dir, options, options.as);
}

function ownDirectories({ directories = [] }: StageOptions): readonly string[] {
  return ["jobs", "home", "programs", "content", ...directories];
}

/** Directories of a stage are few and known; the fake Slurm is not used by another account. */
function giveTo(dir: string, options: StageOptions, { uid, gid }: Account): void {
  for (const part of ["", ...ownDirectories(options), "ledger", "secret", "config.yaml"])
    lchownSync(join(dir, part), uid, gid);
}

/** Nothing of the tests' own environment but the way to programs. */
function environment(dir: string, { as, env }: StageOptions): Record<string, string> {
  const { username } = userInfo();
  const user = as?.user ?? username;
  const { PATH = "/usr/bin:/bin" } = process.env;
  return { PATH, HOME: as?.home ?? join(dir, "home"), USER: user, LOGNAME: user, ...env };
}

/** What a program has logged, without what it says only when it is asked to be talkative. */
function lastWords(log: string): string {
  return log.replace(/^\S+ debug .*\n/gm, "").slice(-4_000);
}

function linesOf(path: string): string[] {
  if (!existsSync(path)) return [];
  return readFileSync(path, "utf8")
    .split("\n")
    .filter((line) => line !== "");
}
