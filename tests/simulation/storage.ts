/**
 * The shared file system of a simulated cluster: nodes write, each login node sees `.emx2/` and the outputs that were sealed
 * as its directory cache last read them, and for a while nothing can be read at all. What was not sealed shows at once: of
 * that nobody could know that it is missing.
 */
import type { Clock } from "../../src/clock.ts";
import { StorageError } from "../../src/errors.ts";
import type { Leases } from "../../src/scheduler/lease.ts";
import type { NodeView } from "./batch-script.ts";
import { createMemoryFiles, type Directories, type MemoryFiles } from "./memory-files.ts";

export interface Storage {
  readonly node: NodeView;
  /** As a login node sees it, for the daemon whose state is `state`. */
  viewOf(host: Host, state: string): { readonly files: MemoryFiles; readonly leases: Leases };
}

/** A login node with its cache of directories: when each was last read. */
export interface Host {
  readonly lagMs: number;
  readonly readAt: Map<string, number>;
  /** Nothing can be read or written. */
  isDown(): boolean;
}

export function createStorage(clock: Clock): Storage {
  const directories: Directories = new Map();
  const born = new Map<string, number>();
  const all = createMemoryFiles({ state: "", directories });
  const bear = (dir: string, path: string) => born.set(`${dir} ${path}`, clock.mono());

  const seesOf = (host: Host) => (dir: string, path: string) => {
    const now = clock.mono();
    const directory = `${dir}/${path.split("/", 1)}`;
    const readAt = host.readAt.get(directory);
    if (readAt === undefined || now - readAt >= host.lagMs) host.readAt.set(directory, now);
    return (born.get(`${dir} ${path}`) ?? Number.NEGATIVE_INFINITY) <= (host.readAt.get(directory) ?? now);
  };

  return {
    node: {
      has: all.has,
      linkAt: all.linkAt,
      below: all.below,
      put(dir, path, content) {
        all.put(dir, path, content);
        bear(dir, path);
      },
      symlink(dir, path, target) {
        all.symlink(dir, path, target);
        bear(dir, path);
      },
    },
    viewOf(host, state) {
      const sees = seesOf(host);
      const files = createMemoryFiles({ state, directories, sees });
      return { files: failing(files, host), leases: failing(files.leases, host) };
    },
  };
}

/** Each call fails while the host's file system is down. */
function failing<T extends object>(seam: T, host: Host): T {
  return new Proxy(seam, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name);
      if (typeof member !== "function" || name === "read") return member;
      return async (...args: unknown[]) => {
        if (host.isDown())
          throw new StorageError("simulated: stale file handle", {
            code: "ESTALE",
            syscall: String(name),
            path: "/jobs",
          });
        return member.apply(target, args) as unknown;
      };
    },
  });
}
