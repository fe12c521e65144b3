/** Files that are read once as long as nothing changes them, on the real file system with its own time stamps. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, renameSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { hashUnlessKnown, type KnownHashes } from "../../../src/artifacts/known-hashes.ts";
import { sha256, type WorkDirectory, workDirectory } from "./work-directory.ts";

let w: WorkDirectory;
let path: string;
let known: KnownHashes;
const mtime = new Date("2026-01-01T00:00:00Z");
beforeEach(() => {
  w = workDirectory();
  path = join(w.root, "reference");
  writeFileSync(path, "aaa");
  utimesSync(path, mtime, mtime);
  const remembered = new Map<string, string>();
  known = {
    hashOf: (name, state) => remembered.get(`${name} ${state}`),
    remember: (name, state, hash) => void remembered.set(`${name} ${state}`, hash),
  };
});
afterEach(() => w[Symbol.dispose]());

interface Reading {
  readonly expected?: string;
  /** Since the file was last changed, by its file system's clock. */
  readonly afterMs?: number;
  /** While it is read. */
  readonly meanwhile?: () => void;
}

/** What is said of the file, and how often it was read. */
async function hashed({ expected = sha256("aaa"), afterMs = 3_001, meanwhile = () => {} }: Reading = {}) {
  let reads = 0;
  const step = () => {
    reads += 1;
    meanwhile();
  };
  const file = await open(path);
  try {
    const now = async () => statSync(path).ctimeMs + afterMs;
    const progress = { step, elsewhere: <T>(wait: Promise<T>) => wait };
    const { bytes, sha256: hash } = await hashUnlessKnown(file, { path, expected, known, now, progress });
    return { bytes, hash, isRead: reads > 0 };
  } finally {
    await file.close();
  }
}

const read = (text: string) => ({ bytes: text.length, hash: sha256(text), isRead: true });
const unread = (text: string) => ({ ...read(text), isRead: false });

test("a file that has not changed since is not read again", async () => {
  expect(await hashed()).toEqual(read("aaa"));
  expect(await hashed()).toEqual(unread("aaa"));
});

describe("is read again", () => {
  test.each([
    ["written to, whatever its mtime says", () => writeFileSync(path, "bbb")],
    [
      "replaced by another",
      () => {
        writeFileSync(`${path}.new`, "bbb");
        renameSync(`${path}.new`, path);
      },
    ],
  ])("a file that was %s", async (_, change) => {
    expect(await hashed()).toEqual(read("aaa"));
    change();
    utimesSync(path, mtime, mtime);
    expect(statSync(path)).toMatchObject({ size: 3, mtime });
    expect(await hashed()).toEqual(read("bbb"));
  });

  test("one of which another hash is expected than is remembered", async () => {
    await hashed();
    expect(await hashed({ expected: sha256("other") })).toEqual(read("aaa"));
  });

  test("one that was changed a moment before: another write within the same tick would show nowhere", async () => {
    expect(await hashed({ afterMs: 2_999 })).toEqual(read("aaa"));
    expect(await hashed()).toEqual(read("aaa"));
  });

  test("one that was touched while it was read", async () => {
    expect(await hashed({ meanwhile: () => chmodSync(path, 0o600) })).toEqual(read("aaa"));
    expect(await hashed()).toEqual(read("aaa"));
    expect(await hashed()).toEqual(unread("aaa"));
  });
});
