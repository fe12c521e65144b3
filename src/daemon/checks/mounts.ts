/** Which file system a path is on, as the kernel lists them: nothing is asked of the file system itself, which may hang. */
import { readFile } from "node:fs/promises";

export interface Mount {
  readonly point: string;
  /** `nfs4`, `lustre`, `ext4` … */
  readonly kind: string;
  /** `server:/export`, a device. */
  readonly source: string;
  /** Of the mount and of the file system. */
  readonly options: readonly string[];
}

/** Empty where the kernel does not tell. */
export async function readMounts(): Promise<readonly Mount[]> {
  return parseMounts(await readFile("/proc/self/mountinfo", "utf8").catch(() => ""));
}

/** `36 35 98:0 /root /point options [tags] - kind source options`; of two at one point the later one hides the other. */
export function parseMounts(mountinfo: string): Mount[] {
  return mountinfo.split("\n").flatMap((line) => {
    const [before = "", after = ""] = line.split(" - ");
    const [, , , , point, own] = before.split(" ");
    const [kind, source, shared] = after.split(" ");
    if (point === undefined || own === undefined || kind === undefined || source === undefined) return [];
    const options = [...own.split(","), ...(shared ?? "").split(",")];
    return [{ point: unescaped(point), kind, source: unescaped(source), options }];
  });
}

/** `path`: absolute, without symbolic links. */
export function mountOf(mounts: readonly Mount[], path: string): Mount | undefined {
  const below = ({ point }: Mount) => point === "/" || path === point || path.startsWith(`${point}/`);
  return mounts.filter(below).reduce<Mount | undefined>((best, mount) => {
    return best === undefined || mount.point.length >= best.point.length ? mount : best;
  }, undefined);
}

/** Kinds that no other host sees, unless this one exports them. */
export function isLocal({ kind }: Mount): boolean {
  return /^(tmpfs|ramfs|ext[234]|xfs|btrfs|zfs|f2fs|overlay|vfat)$/.test(kind);
}

export function isNfs({ kind }: Mount): boolean {
  return /^nfs4?$/.test(kind);
}

/** Space, tab, newline and backslash are written as `\040` and so on. */
function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
