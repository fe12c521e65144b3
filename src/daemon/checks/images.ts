/**
 * What images need, looked at from this host: each image itself, what Apptainer mounts it with, and room for its cache and
 * temporary files. Jobs run on compute nodes, which alone can tell for sure: what is amiss here is a warning, unless it is the
 * image that the daemon would refuse.
 */
import { constants } from "node:fs";
import { access, readFile, realpath, stat, statfs } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { lookAtImage, readSif } from "../../artifacts/image.ts";
import { answeredWithin } from "../../artifacts/storage-fault.ts";
import type { Clock } from "../../clock.ts";
import type { Config } from "../../config/config.ts";
import { shellWord } from "../../config/printable.ts";
import { isSystemError, storageFault } from "../../errors.ts";
import type { ImageWorkload, Profile } from "../../job/profile.ts";
import { type CheckItem, failed, listed, ok, warning } from "./item.ts";

/** A dead mount never answers. */
const answerMs = 5_000;
/** A large image is not read to its end for `check`. */
const hashMs = 60_000;

export interface ImageParts {
  readonly clock: Clock;
  readonly config: Config;
  readonly env: Readonly<Record<string, string | undefined>>;
}

type ImageProfile = Profile & { readonly workload: ImageWorkload };

export async function checkImages(parts: ImageParts): Promise<CheckItem[]> {
  const { clock, config } = parts;
  const profiles = config.profiles.filter((each): each is ImageProfile => each.workload.kind === "image");
  if (profiles.length === 0) return [];
  const images = Map.groupBy(profiles, ({ workload }) => workload.image);
  const items = await Promise.all([
    ...[...images].map(([image, users]) => imageItems(clock, image, users)),
    starterFacts(parts).then((facts) => [userNamespaces(facts), fuse(facts)]),
    ...(["image_tmp_dir", "cache_dir"] as const).map((key) => roomItems(parts, key, [...images.keys()])),
  ]);
  return items.flat();
}

async function imageItems(clock: Clock, path: string, users: readonly ImageProfile[]): Promise<CheckItem[]> {
  const item = `sif_image of ${listed(users.map(({ key }) => key))}`;
  const wanted = new Set(users.flatMap(({ workload }) => workload.sha256 ?? []));
  const file = await onDisk(item, path, () => imageItem(clock, item, path, wanted.size > 0));
  if (file.result === "failed" || wanted.size === 0) return [file];
  return [file, await onDisk(item, path, () => hashItem(clock, path, users))];
}

async function onDisk(item: string, path: string, look: () => Promise<CheckItem>): Promise<CheckItem> {
  try {
    return await look();
  } catch (error) {
    if (!isSystemError(error)) throw error;
    const fix = "correct sif_image, or put the image there, readable for this user";
    return failed(item, `${path}: ${storageFault(error)}`, fix);
  }
}

function imageItem(clock: Clock, item: string, path: string, isHeld: boolean): Promise<CheckItem> {
  return answeredWithin(clock, answerMs, path, async () => {
    const stats = await stat(path);
    if (stats.isDirectory() && isHeld)
      return failed(item, `${path} is a directory, which has no sif_sha256`, "build a SIF file of it");
    if (stats.isDirectory())
      return warning(item, `${path} is a directory`, "a SIF file starts faster and can not change");
    if (!stats.isFile()) return failed(item, `${path} is not a file`, "name the image itself");
    if (stats.size === 0) return failed(item, `${path} is empty`, "build or copy it again");
    const sif = await readSif(path);
    if (sif === null) return failed(item, `${path} is no SIF image`, "build or copy it again");
    const { architecture, bytes } = sif;
    if (bytes === undefined || stats.size < bytes) {
      const detail = `${path} is cut short: it has ${stats.size} bytes${bytes === undefined ? "" : `, and should have ${bytes}`}`;
      return failed(item, detail, "copy it again, and let the copy end");
    }
    if (architecture !== undefined && architecture !== process.arch) {
      const detail = `${path} is built for ${architecture}, and this host is ${process.arch}`;
      return warning(item, detail, "build it for the compute nodes' processor, unless that is theirs");
    }
    return ok(item, `${path}, ${(stats.size / 2 ** 20).toFixed(0)} MiB`);
  });
}

/** Read as the daemon would before a job, but for no longer than a person waits. */
async function hashItem(clock: Clock, path: string, users: readonly ImageProfile[]): Promise<CheckItem> {
  const held = users.filter(({ workload }) => workload.sha256 !== undefined);
  const item = `sif_sha256 of ${listed(held.map(({ key }) => key))}`;
  const until = clock.mono() + hashMs;
  const look = await answeredWithin(clock, answerMs, path, (progress) => {
    const step = () => {
      if (clock.mono() > until) throw new TooLong();
      progress.step();
    };
    const now = async () => clock.wall();
    return lookAtImage(path, { known: undefined, now, progress: { ...progress, step } });
  }).catch((error: unknown) => {
    if (error instanceof TooLong) return null;
    throw error;
  });
  if (look === null) {
    const detail = `${path} was not read to its end within ${hashMs / 1_000} s`;
    return warning(item, detail, `compare by hand: sha256sum ${shellWord(path)}`);
  }
  if (look.is !== "file") return failed(item, `${path} can not be read`, "make it readable for this user");
  const { sha256 } = look.seen;
  const others = held.filter(({ workload }) => workload.sha256 !== sha256);
  if (others.length === 0) return ok(item, `${path} is as it should be`);
  const detail = `${path} has sha256 ${sha256}, and not that of ${listed(others.map(({ key }) => key))}`;
  return failed(item, detail, "put the right image there, or correct sif_sha256: nothing is submitted with it");
}

class TooLong extends Error {}

/** undefined: this kernel has no such switch. */
interface StarterFacts {
  readonly maxUserNamespaces: string | undefined;
  readonly usernsClone: string | undefined;
  readonly apparmorRestricts: string | undefined;
  /** Apptainer's own, which needs no user namespace. */
  readonly setuidStarter: string | undefined;
  readonly fuse: boolean;
}

async function starterFacts({ clock, config, env }: ImageParts): Promise<StarterFacts> {
  const read = (path: string) =>
    readFile(path, "utf8").then(
      (text) => text.trim(),
      () => undefined,
    );
  const found = Bun.which(config.apptainer.command, { PATH: env["PATH"] ?? "" });
  // A failure that nobody waits for yet would end the program.
  const starter =
    found === null
      ? undefined
      : answeredWithin(clock, answerMs, found, () => setuidStarter(found)).catch(() => undefined);
  return {
    maxUserNamespaces: await read("/proc/sys/user/max_user_namespaces"),
    usernsClone: await read("/proc/sys/kernel/unprivileged_userns_clone"),
    apparmorRestricts: await read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
    setuidStarter: await starter,
    fuse: await access("/dev/fuse", constants.R_OK | constants.W_OK).then(
      () => true,
      () => false,
    ),
  };
}

async function setuidStarter(command: string): Promise<string | undefined> {
  const program = await realpath(command);
  const path = join(dirname(program), "../libexec", basename(program), "bin/starter-suid");
  const { mode, uid } = await stat(path);
  return uid === 0 && (mode & 0o4000) !== 0 ? path : undefined;
}

export function userNamespaces(facts: StarterFacts): CheckItem {
  const item = "user namespaces";
  const { maxUserNamespaces, usernsClone, apparmorRestricts, setuidStarter: starter } = facts;
  const shut =
    maxUserNamespaces === "0"
      ? "user.max_user_namespaces is 0"
      : usernsClone === "0"
        ? "kernel.unprivileged_userns_clone is 0"
        : apparmorRestricts === "1"
          ? "kernel.apparmor_restrict_unprivileged_userns is 1, so that only programs with a profile of their own get any"
          : undefined;
  if (shut === undefined) return ok(item, "this host lets ordinary users make them");
  if (starter !== undefined) return ok(item, `${shut}; Apptainer's setuid starter does without (${starter})`);
  const fix = "have them allowed on the compute nodes, or Apptainer's setuid starter installed, unless it is so there";
  return warning(item, `${shut} on this host, and Apptainer has no setuid starter here`, fix);
}

export function fuse({ fuse: isThere, setuidStarter: starter }: StarterFacts): CheckItem {
  const item = "FUSE";
  if (isThere) return ok(item, "/dev/fuse can be used");
  if (starter !== undefined) return ok(item, "no /dev/fuse, which the setuid starter does without");
  const detail = "this user can not use /dev/fuse on this host: without it Apptainer unpacks an image for each job";
  return warning(item, detail, "load fuse on the compute nodes and open /dev/fuse to users, unless it is so there");
}

async function roomItems({ clock, config }: ImageParts, item: "image_tmp_dir" | "cache_dir", images: string[]) {
  const { imageTmpDir, cacheDir } = config.apptainer;
  const path = item === "cache_dir" ? cacheDir : imageTmpDir;
  if (path === undefined) return [];
  const sizes = images.map((image) =>
    answeredWithin(clock, answerMs, image, () => stat(image)).then(
      ({ size }) => size,
      () => 0,
    ),
  );
  const largest = Math.max(...(await Promise.all(sizes)));
  try {
    const free = await answeredWithin(clock, answerMs, path, async () => {
      await access(path, constants.W_OK | constants.X_OK);
      const { bavail, bsize } = await statfs(path);
      return bavail * bsize;
    });
    const detail = `${path}, ${(free / 2 ** 30).toFixed(1)} GiB free here`;
    if (free >= largest) return [ok(item, detail)];
    return [warning(item, `${detail}, less than the largest image`, "free some, unless the nodes have their own")];
  } catch (error) {
    if (!isSystemError(error)) throw error;
    const fix = `make it on every compute node, writable for this user, unless it is there: mkdir -p ${shellWord(path)}`;
    return [warning(item, `${path}: ${storageFault(error)}`, fix)];
  }
}
