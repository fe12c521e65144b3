/**
 * The clusters of the Slurm ring: may this machine have one, of which kinds, and its life around the tests. A Slurm that belongs to
 * somebody is never touched: where one is configured or running, the ring stays away.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";

/** What the decision rests on. */
export interface Machine {
  root: boolean;
  /** Debian, Ubuntu or one of their kin. */
  debian: boolean;
  container: boolean;
  ci: boolean;
  /** EMX2_INSTALL_SLURM=1 */
  asked: boolean;
  missingPrograms: readonly string[];
  /** Configuration files and daemons that are not ours. */
  siteSlurm: readonly string[];
}

export type Decision = { run: true; install: boolean } | { run: false; why: string };

export function decide(machine: Machine): Decision {
  if (machine.siteSlurm.length > 0) {
    return { run: false, why: `a Slurm or munge lives here, which is left alone: ${machine.siteSlurm.join(", ")}` };
  }
  if (!machine.root || !machine.debian) {
    return { run: false, why: "needs root on Debian or Ubuntu: run `npm test` so, for instance in a container" };
  }
  if (!machine.ci && !machine.asked && !machine.container) {
    return { run: false, why: "installs and starts Slurm here: EMX2_INSTALL_SLURM=1 npm test turns it on" };
  }
  return { run: true, install: machine.missingPrograms.length > 0 };
}

const programs = ["munged", "slurmctld", "slurmd", "sbatch", "slurmdbd", "mariadbd", "mariadb-install-db"];
const daemons = ["munged", "slurmctld", "slurmd", "slurmdbd"];
const configurations = ["/etc/slurm/slurm.conf", "/etc/slurm-llnl/slurm.conf"];
/** The environment variable by which up.sh marks its daemons. */
const ownMark = "EMX2_TEST_CLUSTER=";

export function thisMachine(): Machine {
  const { CI, EMX2_INSTALL_SLURM, PATH } = process.env;
  const osRelease = readIfThere("/etc/os-release");
  return {
    root: userInfo().uid === 0,
    debian: /^ID(_LIKE)?=.*\b(debian|ubuntu)\b/m.test(osRelease),
    container:
      existsSync("/.dockerenv") ||
      existsSync("/run/.containerenv") ||
      readIfThere("/proc/1/environ")
        .split("\0")
        .some((entry) => entry.startsWith("container=")),
    ci: CI === "true",
    asked: EMX2_INSTALL_SLURM === "1",
    missingPrograms: programs.filter((name) => Bun.which(name, { PATH: `${PATH}:/usr/sbin:/sbin` }) === null),
    siteSlurm: [...configurations.filter((file) => existsSync(file)), ...foreignDaemons()],
  };
}

function foreignDaemons(): string[] {
  return readdirSync("/proc")
    .filter((name) => /^[0-9]+$/.test(name))
    .flatMap((pid) => {
      const name = readIfThere(`/proc/${pid}/comm`).trim();
      if (!daemons.includes(name) || readIfThere(`/proc/${pid}/status`).includes("\nState:\tZ")) return [];
      return readIfThere(`/proc/${pid}/environ`).includes(ownMark) ? [] : [`${name} (pid ${pid})`];
    });
}

/** Empty where it is not there, or not for us to read: a process may end at any time. */
function readIfThere(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

const scripts = join(import.meta.dir, "../tests/slurm");

export function installSlurm(): void {
  const { success } = Bun.spawnSync([join(scripts, "install.sh")], { stdio: ["ignore", "inherit", "inherit"] });
  if (!success) throw new Error("Slurm could not be installed");
}

/** Outside of the clone and of every run: it takes 20 seconds to make. The ordinary user has to reach it. */
const apptainerDir = "/var/cache/emx2-hpc-daemon-tests/apptainer";

/** Kept like Apptainer: it takes a minute or more to make, and 1.2 GB. */
export const secondDebian = {
  script: join(scripts, "second.sh"),
  root: "/var/cache/emx2-hpc-daemon-tests/debian-13",
} as const;

/** An Apptainer that this machine has, or that is put together for the tests; where neither can be, why. */
export function findApptainer(): { program: string } | { why: string } {
  const script = Bun.spawnSync([join(scripts, "apptainer.sh"), apptainerDir], { stdin: "ignore" });
  const [stdout, stderr] = [script.stdout, script.stderr].map((bytes) => bytes.toString().trim());
  return script.success ? { program: stdout ?? "" } : { why: stderr ?? "" };
}

/** A kind of cluster, and the tests that are for it. */
export interface Variant {
  directory: string;
  /** A glob of those below it that are for other kinds, or run beside. */
  without?: string;
  /** Files whose tests mostly wait, and are run at the same time. */
  beside: readonly string[];
  /** Of tests/slurm/up.sh. */
  options: readonly string[];
}

const directory = "tests/integration/slurm";
/** A machine has control groups of one version or the other; without those of version 1 Slurm finds processes by /proc. */
const cgroup = existsSync("/sys/fs/cgroup/memory") && existsSync("/sys/fs/cgroup/freezer") ? "v1" : "none";

/** One after the other: as Slurm is first set up, one that forgets soon, one without accounting. */
export const variants: readonly Variant[] = [
  {
    directory,
    without: `${directory}/{forgetful/**,unaccounted/**,edges.test.ts}`,
    beside: [`${directory}/edges.test.ts`],
    options: [],
  },
  { directory: `${directory}/forgetful`, beside: [], options: ["--min-job-age", "3", "--cgroup", cgroup] },
  { directory: `${directory}/unaccounted`, beside: [], options: ["--accounting", "none"] },
];

export interface Cluster extends AsyncDisposable {
  /** What the tests find it by; its directory, since they may disturb it. */
  env: Record<string, string>;
}

/** How tests find Apptainer, and images that are made for this cluster. */
export function imagesFor({ env: { EMX2_TEST_SLURM_STATE: state = "" } }: Cluster, apptainer: string) {
  const dir = join(state, "images");
  const { success } = Bun.spawnSync([join(scripts, "image.sh"), apptainer, `${apptainerDir}-busybox`, dir], {
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (!success) throw new Error("the images of the tests could not be built");
  return { EMX2_TEST_APPTAINER: apptainer, EMX2_TEST_IMAGES: dir };
}

/** The cluster lives while its stdin is open, so it ends with this process, however that ends. */
export async function startCluster({ options }: Variant): Promise<Cluster> {
  // Not TMPDIR, whose path may be too long for the sockets and closed to the ordinary user.
  const dir = mkdtempSync("/tmp/emx2-slurm-");
  // A group of its own, so that Ctrl-C reaches this process alone, and the cluster in order.
  const script = Bun.spawn([join(scripts, "cluster.sh"), dir, ...options], {
    stdio: ["pipe", "pipe", "inherit"],
    detached: true,
  });
  const { value } = await script.stdout.getReader().read();
  if (value === undefined) throw new Error(`the cluster did not start: exit ${await script.exited}`);
  process.stdout.write(value);
  return {
    env: {
      EMX2_TEST_SLURM_CONF: join(dir, "etc/slurm.conf"),
      EMX2_TEST_SLURM_STATE: dir,
      EMX2_TEST_SLURM_USER: "emx2",
    },
    async [Symbol.asyncDispose]() {
      script.stdin.end();
      const code = await script.exited;
      if (code !== 0) throw new Error(`the cluster did not stop cleanly: exit ${code}`);
    },
  };
}
