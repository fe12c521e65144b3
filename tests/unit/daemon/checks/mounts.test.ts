import { expect, test } from "bun:test";
import { isLocal, isNfs, mountOf, parseMounts, readMounts } from "../../../../src/daemon/checks/mounts.ts";

const mountinfo = `21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 21 0:35 / /nfs rw,nosuid shared:9 - nfs4 files:/export rw,vers=4.2,local_lock=none
41 40 0:36 / /nfs/my\\040data ro,noexec - nfs files:/data rw,nolock
42 21 0:40 / /scratch rw - lustre 10.0.0.1@o2ib:/scratch rw,flock
43 42 0:41 / /scratch rw - tmpfs tmpfs rw
this line is none
`;

test("a path lies on the mount nearest above it, by whole names, the later of two at one point", () => {
  const mounts = parseMounts(mountinfo);
  const at = (path: string) => mountOf(mounts, path)?.source;
  expect(at("/home/ann")).toBe("/dev/sda1");
  expect(at("/nfs")).toBe("files:/export");
  expect(at("/nfs/my data/x")).toBe("files:/data");
  expect(at("/nfsx")).toBe("/dev/sda1");
  expect(at("/scratch/a")).toBe("tmpfs");
  expect(mountOf([], "/a")).toBeUndefined();
});

test("options are those of the mount and of the file system; kinds are told apart", () => {
  const [root, nfs4, nfs, lustre, tmpfs] = parseMounts(mountinfo);
  if (!root || !nfs4 || !nfs || !lustre || !tmpfs) throw new Error("five mounts were expected");
  expect(nfs.options).toEqual(["ro", "noexec", "rw", "nolock"]);
  expect([root, nfs4, nfs, lustre, tmpfs].map(isLocal)).toEqual([true, false, false, false, true]);
  expect([root, nfs4, nfs, lustre, tmpfs].map(isNfs)).toEqual([false, true, true, false, false]);
});

test("this kernel's own list can be read", async () => {
  expect(mountOf(await readMounts(), "/")?.point).toBe("/");
});
