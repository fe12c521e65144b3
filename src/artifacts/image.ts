/**
 * Apptainer images, as this host sees them: hashed while they are read once, and known again by what the kernel says of the
 * file. Compute nodes may see another file under the same name: that shows where a job runs alone.
 */
import { constants } from "node:fs";
import { type FileHandle, open, realpath, stat } from "node:fs/promises";
import { errnoOf, meaningOf } from "../errors.ts";
import type { ImageSeen } from "../job/run.ts";
import { hashUnlessKnown, type Reading, stateIn } from "./known-hashes.ts";

export type ImageLook =
  | { readonly is: "file"; readonly seen: ImageSeen }
  /** A sandbox: it has no hash, and may change at any time. */
  | { readonly is: "directory" }
  | { readonly is: "refused"; readonly why: string };

/** FIFOs must not hang the open. */
const forReading = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

/** The path itself is at fault; whatever else the file system says may pass. */
const atFault: ReadonlySet<string> = new Set(["ENOENT", "ENOTDIR", "EACCES", "EPERM", "ELOOP", "ENAMETOOLONG"]);

export async function lookAtImage(
  path: string,
  reading: Pick<Reading, "known" | "now" | "progress">,
): Promise<ImageLook> {
  try {
    const stats = await stat(path);
    if (stats.isDirectory()) return { is: "directory" };
    if (!stats.isFile()) return { is: "refused", why: `the image ${path} is no regular file` }; // opening a device can have effects
    const real = await realpath(path);
    const file = await open(real, forReading);
    try {
      const state = stateIn(await file.stat({ bigint: true }));
      const { sha256 } = await hashUnlessKnown(file, { ...reading, path: real, expected: { is: "any" } });
      return { is: "file", seen: { path, state, sha256 } };
    } finally {
      await file.close();
    }
  } catch (error) {
    const code = errnoOf(error) ?? "";
    if (!atFault.has(code)) throw error;
    return { is: "refused", why: `the image ${path} can not be read: ${meaningOf(code)}` };
  }
}

/** undefined: there is none that could be looked at. */
export async function imageState(path: string): Promise<string | undefined> {
  try {
    return stateIn(await stat(path, { bigint: true }));
  } catch (error) {
    if (!atFault.has(errnoOf(error) ?? "")) throw error;
    return undefined;
  }
}

/**
 * What hosts that share the image's file system see of it alike, and of a copy in part: size in bytes, times of change of its
 * content and of the file in whole seconds, inode, as `stat -c '%s %Y %Z %i'` spells them.
 */
export function factsOnNode({ state }: ImageSeen): string {
  const [, inode = "", bytes = "", ...changedNs] = state.split(" ");
  return [bytes, ...changedNs.map((ns) => BigInt(ns) / 1_000_000_000n), inode].join(" ");
}

/**
 * Of a SIF's global header: 32 bytes for the kernel, the mark, a version, and the architecture in two digits; where its data
 * begin and how long they are, in 64 bits each, the lower ones first (SIF's Go library, and images of Apptainer 1.4.5).
 */
const mark = { at: 32, text: "SIF_MAGIC" };
const architectureAt = 45;
const dataAt = 112;
const dataBytesAt = 120;
const headerBytes = 128;

/** As node.js calls them, by the code that SIF has for each; what is not here is not judged. */
const architectures: Readonly<Record<string, string>> = {
  "01": "ia32",
  "02": "x64",
  "03": "arm",
  "04": "arm64",
  "06": "ppc64",
  "11": "s390x",
  "12": "riscv64",
};

export interface SifHeader {
  readonly architecture?: string;
  /** How long the file is at least; absent: the header itself is cut short. */
  readonly bytes?: number;
}

/** What the header says; null: it is no SIF. */
export async function readSif(path: string): Promise<SifHeader | null> {
  const file: FileHandle = await open(path, forReading);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(headerBytes), 0, headerBytes, 0);
    const header = buffer.toString("latin1", 0, bytesRead);
    if (!header.startsWith(mark.text, mark.at)) return null;
    const architecture = architectures[header.slice(architectureAt, architectureAt + 2)];
    const bytes =
      bytesRead < headerBytes
        ? undefined
        : Number(buffer.readBigUInt64LE(dataAt)) + Number(buffer.readBigUInt64LE(dataBytesAt));
    return { ...(architecture !== undefined && { architecture }), ...(bytes !== undefined && { bytes }) };
  } finally {
    await file.close();
  }
}
