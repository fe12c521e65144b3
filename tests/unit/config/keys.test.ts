// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the configuration's own references are tested here
import { afterAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { formatProblem } from "../../../src/errors.ts";
import { configText, load, problemsOf, sandbox } from "./config-file.ts";

const box = sandbox();
afterAll(() => box.remove());

type Blocks = Parameters<typeof configText>[0];
const faultsOf = (blocks: Blocks) => problemsOf(box, configText(blocks)).map(formatProblem).join("\n");
const profileOf = (profile: string) => load(box, configText({ profile })).profiles[0];

describe("what is refused, and why", () => {
  test.each<[Blocks, string]>([
    [{ emx2: "base_url: http://emx2.test" }, "must be https"],
    [{ emx2: "base_url: http://127.evil.test" }, "must be https"],
    [{ emx2: "base_url: https://u:hunter2@emx2.test" }, "must not hold a user name or password"],
    [{ emx2: "base_url: https://emx2.test/?a=1" }, "must not hold a query"],
    [{ emx2: "base_url: emx2.test" }, "must be a URL"],
    [{ emx2: "base_url: https://emx2.test\n  auth_mode: basic" }, "must be hmac or token"],
    [{ emx2: "base_url: https://emx2.test\n  allow_insecure_http: 1" }, "must be true or false"],
    [{ secret: "" }, "emx2: needs worker_secret_file"],
    [{ secret: "worker_secret: a\n  shared_secret: b" }, "emx2.shared_secret: cannot stand beside worker_secret"],
    [{ secret: "worker_secret: a\n  shared_secret_file: b" }, "cannot stand beside shared_secret_file"],
    [{ worker: "state_dir: a\n  state_db: b" }, "worker.state_db: cannot stand beside state_dir"],
    [{ worker: "state_dir: ~root/x" }, "knows ~/ alone"],
    [{ worker: "poll_interval_seconds: 0" }, "of at least 0.01 seconds"],
    [{ worker: "seal_wait_seconds: 0" }, "of at least 1 second"],
    [{ worker: "poll_interval_seconds: never" }, "must be a duration"],
    [{ worker: "heartbeat_interval_seconds: 5 minutes" }, "must be a duration"],
    [{ worker: "heartbeat_interval_seconds: .inf" }, "must be a duration"],
    [{ worker: "keep_job_dirs: 9999d" }, "must be a duration"],
    [{ worker: "min_free_disk: 10GB" }, "must be a size"],
    [{ worker: "max_concurrent_jobs: 0" }, "must be a whole number"],
    [{ worker: "max_concurrent_jobs: 1.5" }, "must be a whole number"],
    [{ worker: "max_concurrent_jobs: [1]" }, "not a list"],
    [{ worker: "max_concurrent_jobs:" }, "has no value"],
    [{ worker: "requeue: true" }, "is not a key here"],
    [{ worker: "toString: x" }, "is not a key here"],
    [{ slurm: "default_partition: 5" }, "must be a text"],
    [{ slurm: 'default_partition: "a\\x1b[2J"' }, "must not hold control characters"],
    [{ apptainer: "bind_paths: [data]" }, "must have an absolute source"],
    [{ apptainer: "bind_paths: ['/a:b']" }, "must have an absolute destination"],
    [{ apptainer: "bind_paths: ['/a:/b:rx']" }, "must be SOURCE"],
    [{ apptainer: "bind_paths: ['/a:/input/x']" }, "must not cover /input"],
    [{ profile: "memory: 10Gi" }, "must be a size as --mem takes it"],
    [{ profile: "memory: 1.5G" }, "must be a size as --mem takes it"],
    [{ profile: "time: 4h" }, "must be a time as --time takes it"],
    [{ profile: "time: 1-2-3" }, "must be a time as --time takes it"],
    [{ profile: "gpus: 0" }, "must be a number of GPUs"],
    [{ profile: "gres: 5" }, "must be a text"],
    [{ profile: "gpus: 1\n    gres: gpu:1" }, "cannot stand beside gpus"],
    [{ profile: "entrypoint: /bin/sh" }, "cannot stand beside host_entrypoint"],
    [{ profile: "sif_image: a.sif" }, "cannot stand beside sif_image"],
    [{ profile: "isolation: host" }, "means nothing without sif_image"],
    [{ profile: "sbatch_args: []\n    extra_args: []" }, "cannot stand beside sbatch_args"],
    [{ profile: "partition: a\n    sbatch_args: [-pb]" }, "says the same as the key partition"],
    [{ profile: "allowed_environment: ['A B']" }, "must be the name of a variable"],
    [{ profile: 'prelude: ["a\\eb"]' }, "must not hold control characters"],
    [
      { profile: "submission_timeout_seconds: 1h\n    claim_timeout_seconds: 1h" },
      "claim_timeout_seconds: cannot stand beside submission_timeout_seconds",
    ],
    [{ profile: "allow_command: true" }, "allow_command: means nothing without sif_image"],
    [{ profiles: "p/q: {sif_image: a, isolation: host, allow_command: true}" }, "needs isolation: contained"],
    [{ profile: "allowed_submitters: jo" }, "must be a list of texts"],
    [{ profile: "execution_timeout_seconds: soon" }, "must be a duration"],
    [{ profile: "requeue: yes" }, "must be true or false"],
    [{ worker: "queue_report_interval_seconds: never" }, "must be a duration"],
    [{ profiles: "p/q: {}" }, "needs sif_image or host_entrypoint"],
    [{ profiles: "p/q: {sif_image: ''}" }, "needs sif_image or host_entrypoint"],
    [{ profiles: "p/q: {sif_image: 'docker://x'}" }, "must be a file"],
    [{ profiles: "p/q: 5" }, "must be a block of keys"],
    [{ profiles: "[a]" }, "profiles: must be a block of keys, not a list"],
    [{ profiles: "[]" }, "profiles: must be a block of keys, not a list"],
    [{ profiles: "p/q: []" }, 'profiles."p/q": must be a block of keys, not a list'],
    [{ worker: "[]" }, "worker: must be a block of keys, not a list"],
    [{ profiles: "constructor: {host_entrypoint: a, processor: p, profile: q}" }, "cannot be the name of a profile"],
    [{ profiles: "__proto__: {host_entrypoint: a, processor: p, profile: q}" }, "cannot be the name of a profile"],
    [{ profiles: "p/q: {host_entrypoint: a}\n  p:q: {host_entrypoint: b}" }, 'means the same as "p/q"'],
  ])("%j", (blocks, message) => {
    expect(faultsOf(blocks)).toContain(message);
  });

  test("a secret or a URL with a password is not repeated, whatever is wrong with it", () => {
    for (const blocks of [
      { secret: "worker_secret: {hunter2: 1}" },
      { secret: "worker_secret: 4242" },
      { secret: 'worker_secret: "4242\\n"' },
      { emx2: "base_url: https://hunter2:4242@emx2.test/?q" },
      { emx2: "base_url: https://hunter2:4242@[" },
    ]) {
      expect(faultsOf(blocks)).toContain("must");
      expect(faultsOf(blocks)).not.toMatch(/hunter2|4242/);
    }
  });
});

describe("what values come to", () => {
  test.each([
    ["https://emx2.test/", "https://emx2.test"],
    ["https://emx2.test/emx2//", "https://emx2.test/emx2"],
    ["http://localhost:8080", "http://localhost:8080"],
    ["http://127.0.0.1:1", "http://127.0.0.1:1"],
    ["'http://[::1]:1'", "http://[::1]:1"],
    ["http://emx2.test\n  allow_insecure_http: true", "http://emx2.test"],
  ])("base_url %s", (text, url) => {
    expect(load(box, configText({ emx2: `base_url: ${text}` })).emx2.baseUrl).toBe(url);
  });

  test.each([
    ["0.5", 500],
    ["'30'", 30_000],
    ["30s", 30_000],
    ["1.5m", 90_000],
    ["12h", 43_200_000],
    ["7d", 604_800_000],
    ["never", null],
  ])("a duration of %s", (text, ms) => {
    expect(load(box, configText({ worker: `keep_job_dirs: ${text}` })).worker.keepJobDirsMs).toBe(ms);
  });

  test.each([
    ["0", 0],
    ["1024", 1024],
    ["1.5K", 1536],
    ["500M", 500 * 2 ** 20],
    ["2T", 2 ** 41],
  ])("a size of %s", (text, bytes) => {
    expect(load(box, configText({ worker: `min_free_disk: ${text}` })).worker.minFreeDiskBytes).toBe(bytes);
  });

  test("a log is cut above a size, or above nothing", () => {
    expect(load(box, configText({ worker: "max_log_size: 1M" })).worker.maxLogBytes).toBe(2 ** 20);
    expect(load(box, configText({ worker: "max_log_size: 0" })).worker.maxLogBytes).toBe(0);
  });

  test.each([
    ["state_dir: state", () => join(box.directory, "state")],
    ["state_dir: ../state/", () => join(box.directory, "../state")],
    ["state_dir: ~/state", () => join(box.home, "state")],
    ["state_dir: /state", () => "/state"],
    ["state_db: db/state.sqlite", () => join(box.directory, "db")],
    ["", () => join(box.home, ".local/state/emx2-hpc-daemon")],
  ])("%s", (worker, directory) => {
    expect(load(box, configText({ worker })).worker.stateDir).toBe(directory());
  });

  test("the state directory's default follows XDG_STATE_HOME", () => {
    const env = { XDG_STATE_HOME: "/xdg" };
    expect(load(box, configText({}), env).worker.stateDir).toBe("/xdg/emx2-hpc-daemon");
  });

  test("binds are read-only unless they say otherwise", () => {
    const { apptainer } = load(box, configText({ apptainer: "bind_paths: [/a, '/b:/c', '~/d:/e:rw']" }));
    expect(apptainer.binds).toEqual([
      { source: "/a", destination: "/a", writable: false },
      { source: "/b", destination: "/c", writable: false },
      { source: join(box.home, "d"), destination: "/e", writable: true },
    ]);
  });

  test.each([
    ["memory: 64000", { memory: "64000" }],
    ["memory: 10gb", { memory: "10gb" }],
    ["time: 04:00:00", { time: "04:00:00" }],
    ["time: 90", { time: "90" }],
    ["time: 1-12", { time: "1-12" }],
    ["time: UNLIMITED", { time: "UNLIMITED" }],
    ["gpus: 2", { gpus: 2 }],
    ["gpus: a100:2,v100:1", { gpus: "a100:2,v100:1" }],
    ["gres: 'gpu:a100:1,lscratch:200'", { gres: "gpu:a100:1,lscratch:200" }],
    ["extra_args: [--exclusive]", { sbatchArgs: ["--exclusive"] }],
    ['prelude: ["module load x\\nulimit -s"]', { prelude: ["module load x\nulimit -s"] }],
    ["log_residence: posix\n    posix_output_dir: /r", { logResidence: "posix", posixOutputDir: "/r" }],
    ["submission_timeout_seconds: 2h", { submissionTimeoutMs: 7_200_000 }],
    ["claim_timeout_seconds: 90", { submissionTimeoutMs: 90_000 }],
    ["execution_timeout_seconds: never", { executionTimeoutMs: null }],
    ["requeue: true", { requeue: true }],
    ["allowed_submitters: [jo, 'lab-*']", { allowedSubmitters: ["jo", "lab-*"] }],
    ["", { workload: { kind: "host", entrypoint: "/bin/true" }, allowedEnvironment: [] }],
  ])("a profile with %s", (text, expected) => {
    expect(profileOf(text)).toMatchObject(expected);
  });

  test.each([
    ["", { isolation: "contained", gpuRuntime: "none" }, ["*"]],
    [", isolation: host", { isolation: "host" }, []],
    [`, sif_sha256: ${"AB".repeat(32)}`, { sha256: "ab".repeat(32) }, ["*"]],
    [", gpus: 1", { gpuRuntime: "nv" }, ["*"]],
    [", gres: 'gpu:a100:1'", { gpuRuntime: "nv" }, ["*"]],
    [", gres: 'lscratch:1'", { gpuRuntime: "none" }, ["*"]],
    [", gpus: 1, gpu_runtime: rocm", { gpuRuntime: "rocm" }, ["*"]],
    [", host_entrypoint: ''", { image: () => join(box.directory, "i.sif") }, ["*"]],
  ])("an image profile%s", (more, workload, environment) => {
    const { profiles } = load(box, configText({ profiles: `p/q: {sif_image: i.sif${more}}` }));
    const expected = "image" in workload ? { image: join(box.directory, "i.sif") } : workload;
    expect(profiles[0]?.workload).toMatchObject({ kind: "image", ...expected });
    expect(profiles[0]?.allowedEnvironment).toEqual(environment);
  });

  test("a command of the job's own is for an image that asks for it", () => {
    const { profiles } = load(box, configText({ profiles: "p/q: {sif_image: i.sif, allow_command: true}" }));
    expect(profiles[0]?.allowCommand).toBe(true);
    expect(load(box, configText({ profile: "allow_command: false" })).profiles[0]?.allowCommand).toBe(false);
    const both = "p/q: {sif_image: i.sif, container_entrypoint: /run, allow_command: true}";
    expect(load(box, configText({ profiles: both })).warnings[0]?.message).toContain("no effect beside container_entr");
  });

  test("a bind that holds the job directories is accepted with a warning", () => {
    const text = (bind: string) => configText({ apptainer: `bind_paths: ['/scratc', '${bind}']` });
    const warned = (bind: string) =>
      load(box, text(bind)).warnings.map(({ path, message }) => [path, message.slice(0, 13)]);
    for (const bind of ["/scratch", "/scratch/:/data:rw", "/:/host"])
      expect(warned(bind)).toEqual([["apptainer.bind_paths[1]", "holds tmp_dir"]]);
    for (const bind of ["/scratch2", "/scratch/shared:/x"]) expect(warned(bind)).toEqual([]);
  });

  test("so is one that holds the secret, the state or the user's keys, in apptainer_args too", () => {
    const worker = "state_dir: /var/emx2/state";
    const profiles = (arg: string) => `p/q: {sif_image: i.sif, apptainer_args: ['${arg}']}`;
    const said = (more: Parameters<typeof configText>[0]) =>
      load(box, configText({ worker, ...more })).warnings.map(({ path, message }) => `${path} ${message}`);
    expect(said({ apptainer: `bind_paths: ['${box.directory}:/d']` })).toEqual([
      "apptainer.bind_paths[0] holds the secret, this user's ~/.ssh: every job in an image sees it",
    ]);
    for (const arg of ["--bind=/x,/var/emx2:/h", "-B/var/emx2", "--mount=type=bind,src=/var/emx2,dst=/h"])
      expect(said({ profiles: profiles(arg) })).toEqual([
        expect.stringMatching(/apptainer_args\[0\] holds state_dir:/),
      ]);
    expect(said({ profiles: profiles("--bind=/var/emx2/images") })).toEqual([]);
  });

  test("a place for what stays, where nothing stays, is accepted with a warning that says where", () => {
    const { warnings } = load(box, configText({ profile: "posix_output_dir: /results" }));
    expect(warnings.map(({ path }) => path)).toEqual(['profiles."p/q".posix_output_dir']);
  });

  test("Slurm's defaults go to profiles without their own, also not where sbatch_args say it", () => {
    const slurm = "default_partition: normal\n  default_account: a1";
    const of = (profile: string) => load(box, configText({ slurm, profile })).profiles[0];
    expect(of("")).toMatchObject({ partition: "normal", account: "a1" });
    expect(of("partition: gpu")).toMatchObject({ partition: "gpu", account: "a1" });
    expect(of("sbatch_args: [--part=gpu]")?.partition).toBeUndefined();
  });

  test("a variable can give a number", () => {
    const text = configText({ worker: "max_concurrent_jobs: ${N}\n  poll_interval_seconds: ${S:-2}" });
    const { worker } = load(box, text, { N: "7" });
    expect([worker.maxConcurrentJobs, worker.pollIntervalMs]).toEqual([7, 2000]);
  });

  test("a value that could not be read is told once, not once more for what it is not", () => {
    const problems = problemsOf(box, configText({ worker: "poll_interval_seconds: ${NO}" }));
    expect(problems.map(({ message }) => message)).toEqual(["the environment variable NO is not set"]);
  });

  test("an inline secret and plain http to elsewhere are accepted with a warning that says where", () => {
    const emx2 = "base_url: http://emx2.test\n  allow_insecure_http: true";
    const { emx2: settings, warnings } = load(box, configText({ emx2, secret: "shared_secret: hunter2" }));
    expect(settings.secret.kind).toBe("inline");
    expect(warnings.map(({ line, path }) => [line, path])).toEqual([
      [5, "emx2.shared_secret"],
      [4, "emx2.allow_insecure_http"],
    ]);
    expect(JSON.stringify(warnings)).not.toContain("hunter2");
  });
});
