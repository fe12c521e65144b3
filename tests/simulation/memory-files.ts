/**
 * Job directories in memory, for virtual time: everything settles in microtasks, nothing touches the disk. The simulated
 * scheduler plays the batch script through `put` and `symlink`. Held to the same suite as the real directory
 * (tests/unit/artifacts/job-files.test.ts).
 */
import { createHash } from "node:crypto";
import { noRows } from "../../src/artifacts/file-rows.ts";
import type { JobFiles, Owner } from "../../src/artifacts/job-files.ts";
import { controlDirectory, type FoundFile, isRunLog, roleOfOutput, rootOf } from "../../src/artifacts/manifest.ts";
import { describe } from "../../src/artifacts/owner.ts";
import { quote } from "../../src/artifacts/path.ts";
import { logsDirectory } from "../../src/artifacts/posix-output.ts";
import { isAllowed } from "../../src/artifacts/posix-roots.ts";
import { progressOf } from "../../src/artifacts/progress.ts";
import { newestRestart, readReceipts } from "../../src/artifacts/receipts.ts";
import { ResultRows } from "../../src/artifacts/result-rows.ts";
import { type Seal, sealOf } from "../../src/artifacts/seal.ts";
import { lastLines, stderrNames } from "../../src/artifacts/stderr-tail.ts";
import { mismatch } from "../../src/artifacts/whole-file.ts";
import { StorageError } from "../../src/errors.ts";
import type { FileRow } from "../../src/job/effect.ts";
import { closedLease, holderOfLease, leaseClosedTo } from "../../src/job/run.ts";
import type { Leases } from "../../src/scheduler/lease.ts";
import { leasesInMemory } from "./memory-leases.ts";

export interface MemoryFiles extends JobFiles {
  /** Writes a file of the job or of its script; `path` is relative to the job directory. */
  put(dir: string, path: string, content: string | Uint8Array): void;
  symlink(dir: string, path: string, target: string): void;
  /** The content of a file; undefined: there is none. */
  contentOf(dir: string, path: string): Uint8Array | undefined;
  /** What symbolic link there is at `path`. */
  linkAt(dir: string, path: string): string | undefined;
  has(dir: string): boolean;
}

export interface SimulatedFiles extends MemoryFiles {
  /** The files of a directory of the job, by their paths below it. */
  below(dir: string, directory: string): ReadonlyMap<string, File>;
  /** As the scheduler's adapter looks at them. */
  readonly leases: Leases;
}

export interface File {
  readonly bytes: Uint8Array;
  readonly mtimeMs: number;
}
export interface Directory {
  readonly owner: Owner;
  readonly files: Map<string, File>;
  readonly links: Map<string, string>;
}

/** What is missed, told by so many names. */
const maxNames = 10;
const nobody: Owner = { state: "", stateDir: "", host: "", uid: 0 };

/** What is stored, for all who look at it. */
export type Directories = Map<string, Directory>;

interface View {
  /** Whose directories `remove` may take away. */
  readonly state: string;
  readonly directories?: Directories;
  /** Whether this host's cache shows what a node has left in `.emx2/`, or has sealed. */
  sees?(dir: string, path: string): boolean;
}

export function createMemoryFiles(view: View): SimulatedFiles {
  const { state, directories = new Map() as Directories, sees = () => true } = view;
  let writes = 0;

  function at(dir: string): Directory {
    return directories.get(dir) ?? fail("ENOENT", dir, true);
  }

  function put(dir: string, path: string, content: string | Uint8Array): void {
    writes += 1;
    const bytes = typeof content === "string" ? Buffer.from(content) : Uint8Array.from(content);
    at(dir).files.set(path, { bytes, mtimeMs: writes });
    at(dir).links.delete(path);
  }

  return {
    leases: leasesInMemory(directories, sees),
    put,
    symlink(dir, path, target) {
      const { files, links } = at(dir);
      if (files.has(path) || links.has(path)) fail("EEXIST", path);
      links.set(path, target);
    },
    contentOf: (dir, path) => directories.get(dir)?.files.get(path)?.bytes,
    linkAt: (dir, path) => directories.get(dir)?.links.get(path),
    has: (dir) => directories.has(dir),
    below(dir, directory) {
      const all = [...(directories.get(dir)?.files ?? [])];
      const inside = all.filter(([path]) => path.startsWith(`${directory}/`));
      return new Map(inside.map(([path, file]) => [path.slice(directory.length + 1), file]));
    },

    async create(dir, owner) {
      const there = directories.get(dir);
      if (there && there.owner.state !== owner.state) {
        return { is: "foreign", owner: describe({ is: "state", owner: there.owner }) };
      }
      if (!there) directories.set(dir, { owner, files: new Map(), links: new Map() });
      return { is: "ours" };
    },

    async find(dir) {
      const there = directories.get(dir);
      if (!there) return { is: "nothing" };
      const { files, links, owner } = there;
      const lease = `${controlDirectory}/lease.a1`;
      const link = sees(dir, lease) ? links.get(lease) : undefined;
      const schedulerId = link === undefined ? undefined : holderOfLease(link);
      const base = files.get(`${controlDirectory}/output-base`);
      return {
        is: "directory",
        ownership: { is: "state", owner },
        scripted: files.has(`${controlDirectory}/parameters.json`),
        unreceipted: false,
        ...(link !== undefined
          ? { lease: { attempt: "a1", ...(schedulerId === undefined ? {} : { schedulerId }) } }
          : {}),
        ...(base ? { outputBase: new TextDecoder().decode(base.bytes).trim() } : {}),
        since: 0,
      };
    },

    async takeOver(dir, owner) {
      directories.set(dir, { ...at(dir), owner });
      return { is: "ours" };
    },

    async writeControl(dir, controls) {
      for (const { name, content } of controls) put(dir, `${controlDirectory}/${name}`, content);
    },

    async readControl(dir, name) {
      const file = at(dir).files.get(`${controlDirectory}/${name}`);
      return file ? new TextDecoder().decode(file.bytes) : null;
    },

    async writeInput(dir, row, body) {
      at(dir);
      const bytes = await contentUpTo(row.bytes, body);
      if (bytes.length !== row.bytes) throw mismatch(row.path, "bytes", String(row.bytes), String(bytes.length));
      const sha256 = hashOf(bytes);
      if (row.sha256 !== undefined && sha256 !== row.sha256) throw mismatch(row.path, "sha256", row.sha256, sha256);
      put(dir, placeOf(row), bytes);
      return { bytes: bytes.length, sha256 };
    },

    async hasInput(dir, row) {
      const file = at(dir).files.get(placeOf(row));
      return file !== undefined && file.bytes.length === row.bytes && hashOf(file.bytes) === row.sha256;
    },

    async receipts(run) {
      const directory = directories.get(run.dir);
      if (!directory) return { directory: false, restart: 0, lost: [] };
      const { files, links } = directory;
      const inControl = `${controlDirectory}/`;
      const view = {
        names: [...files.keys(), ...links.keys()]
          .filter((path) => path.startsWith(inControl) && sees(run.dir, path))
          .map((path) => path.slice(inControl.length)),
        link: async (name: string) => (sees(run.dir, inControl + name) ? (links.get(inControl + name) ?? null) : null),
        async file(name: string) {
          const file = files.get(inControl + name);
          return file ? { text: new TextDecoder().decode(file.bytes) } : null;
        },
      };
      return readReceipts(run.attempt, view, () => {});
    },

    async closeLease({ dir, attempt }, begun) {
      const links = directories.get(dir)?.links;
      const path = `${controlDirectory}/lease.${attempt}`;
      const target = links?.get(path) ?? closedLease;
      const schedulerId = holderOfLease(target);
      links?.set(path, schedulerId === undefined || begun === undefined ? target : leaseClosedTo(schedulerId));
      const names = [...(links?.keys() ?? [])].map((name) => name.slice(controlDirectory.length + 1));
      const isHeld = begun === undefined || newestRestart(attempt, names) > begun;
      return schedulerId !== undefined && isHeld ? { is: "held", schedulerId } : { is: "closed" };
    },

    async list({ dir, outputBase = dir, outputDir, manifestSha256 }, role) {
      const leftOut = { count: 0, names: [] };
      if (role === "log" && !directories.has(dir)) return { rows: noRows, leftOut };
      const { files } = at(outputBase);
      const all = outputBase === dir ? files : new Map([...at(dir).files, ...files]);
      const found = [...all].flatMap(([path, file]) => foundFile(path, file, outputDir, role) ?? []);
      const madeByCreate = outputDir === "output" && outputBase === dir;
      const there = madeByCreate || [...files.keys()].some((path) => path.startsWith(`${outputDir}/`));
      if (role === "output" && !there) fail("ENOENT", `${outputBase}/${outputDir}`);
      using seal = role === "output" ? sealIn(at(dir), outputDir, manifestSha256) : null;
      const after: string[] = [];
      const sealsNothing = seal?.namesNoOutput() ?? false;
      const shown = found.filter((file) => {
        const sealed = seal?.get(file.path);
        if (seal === null || sealed === "link") return seal === null;
        if (sealed === undefined) {
          if (!sealsNothing) after.push(`${quote(file.path)} (not sealed at the job's end)`);
          return sealsNothing;
        }
        if (!sees(outputBase, `${outputDir}/${file.path}`)) return false;
        const { bytes, mtimeMs = 0 } = file;
        if (mtimeMs > sealed.mtimeMs || (mtimeMs === sealed.mtimeMs && bytes > sealed.bytes))
          fail("EINVAL", `output ${quote(file.path)} can not be uploaded: it was changed after the job's end`, true);
        if (bytes !== sealed.bytes || mtimeMs !== sealed.mtimeMs) return false;
        seal.found(file.path);
        return true;
      });
      const isLate = role === "output" && manifestSha256 !== undefined && seal === null;
      const late = seal?.unseen(maxNames) ?? { count: isLate ? 1 : 0, names: ["the manifest"] };
      const rows = new ResultRows(role);
      for (const file of shown) rows.add(file);
      return {
        ...{ rows: rows.named(), leftOut: { count: after.length, names: after } },
        ...(late.count > 0 ? { unseen: { count: late.count, names: late.names.map(quote) } } : {}),
      };
    },

    async keepLogs(place, rows, base) {
      for (const row of rows) {
        const file = at(rootOf(place, row)).files.get(placeOf(row));
        if (!file) fail("ENOENT", row.path);
        at(base).files.set(`${logsDirectory}/${row.path}`, file);
      }
    },

    read(place, row) {
      return new ReadableStream<Uint8Array>({
        pull(controller) {
          const file = at(rootOf(place, row)).files.get(placeOf(row));
          if (file?.bytes.length !== row.bytes || file.mtimeMs !== row.mtimeMs) {
            throw mismatch(row.path, "bytes", String(row.bytes), file ? "another file" : "no file");
          }
          if (file.bytes.length > 0) controller.enqueue(file.bytes);
          controller.close();
        },
      });
    },

    async progress({ dir, outputBase = dir, outputDir }) {
      const files = directories.get(outputBase)?.files;
      const seen = (path: string) => (sees(outputBase, path) ? files?.get(path) : undefined);
      return progressOf((name) => seen(`${outputDir}/${name}`) ?? null);
    },

    async stderrTail(dir, schedulerId, lines) {
      if (!directories.has(dir)) return [];
      for (const name of stderrNames(schedulerId)) {
        const file = at(dir).files.get(`${controlDirectory}/${name}`);
        if (file && file.bytes.length > 0) return lastLines({ bytes: file.bytes, cut: false }, lines);
      }
      return [];
    },

    async remove(dir, keep = []) {
      const directory = directories.get(dir);
      if (directory && directory.owner.state !== state) fail("EPERM", dir, true);
      const kept = [...(directory?.files ?? [])].filter(([path]) => keep.some((part) => path.startsWith(`${part}/`)));
      if (directory && kept.length > 0) directories.set(dir, { ...directory, files: new Map(kept), links: new Map() });
      else directories.delete(dir);
    },

    /** What lies outside of job directories is a directory of its own here, put there by the test. */
    async findSource(path, roots) {
      if (!isAllowed(path, roots)) return { is: "refused", why: `"${path}" is in none of the directories` };
      if (!directories.has(path)) return { is: "refused", why: `"${path}" does not exist` };
      return { is: "found", path, kind: "directory", bytes: 0 };
    },

    async hashSource({ path }) {
      const source = [...directories.keys()].find((directory) => path.startsWith(`${directory}/`));
      const file = source === undefined ? undefined : directories.get(source)?.files.get(path.slice(source.length + 1));
      if (!file) return { is: "refused", why: `"${path}" does not exist` };
      return { is: "hashed", bytes: file.bytes.length, sha256: hashOf(file.bytes) };
    },

    async placeSources(dir, sources) {
      for (const { artifactId, path } of sources) at(dir).links.set(`input/${artifactId}`, path);
    },

    lookAtImage: async ({ path }) => ({ is: "refused", why: `there is no image ${path}` }),
    imageState: async () => undefined,

    async makeOutputBase(base) {
      if (!directories.has(base)) directories.set(base, { owner: nobody, files: new Map(), links: new Map() });
      return { is: "ours" };
    },
  };
}

function foundFile(path: string, file: File, outputDir: string, role: "output" | "log"): FoundFile | undefined {
  const facts = { bytes: file.bytes.length, mtimeMs: file.mtimeMs, sha256: hashOf(file.bytes) };
  for (const directory of [controlDirectory, outputDir]) {
    if (!path.startsWith(`${directory}/`)) continue;
    const name = path.slice(directory.length + 1);
    const taken = directory === controlDirectory ? role === "log" && isRunLog(name) : roleOfOutput(name) === role;
    if (taken) return { directory, path: name, ...facts };
  }
  return undefined;
}

/** As `readSeal` has it; null: there is no seal. */
function sealIn({ files }: Directory, outputDir: string, manifestSha256: string | undefined): Seal | null {
  const run = outputDir === "output" ? "a1.0" : outputDir.replace(/^output\./, "");
  const { bytes } = files.get(`${controlDirectory}/manifest.${run}`) ?? { bytes: new Uint8Array() };
  if (hashOf(bytes) !== manifestSha256) return null;
  const seal = sealOf(bytes);
  if ("broken" in seal) fail("EINVAL", "the manifest", true);
  return seal;
}

/** The stream's bytes; what comes after one more than `bytes` is not waited for. */
async function contentUpTo(bytes: number, body: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let total = 0;
  const reader = body.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    chunks.push(next.value);
    total += next.value.length;
    if (total > bytes) break;
  }
  await reader.cancel();
  return Buffer.concat(chunks);
}

function hashOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function placeOf(row: FileRow): string {
  return `${row.directory}/${row.diskPath ?? row.path}`;
}

function fail(code: string, path: string, permanent = false): never {
  throw new StorageError(`${path}: ${code}`, { code, syscall: "simulate", path, permanent });
}
