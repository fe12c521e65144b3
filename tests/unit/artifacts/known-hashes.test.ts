/** Files that are read once as long as nothing changes them, on the real file system with its own time stamps. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, renameSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { createTurns, hashUnlessKnown, type KnownHashes } from "../../../src/artifacts/known-hashes.ts";
import { faultOf, sha256, type WorkDirectory, workDirectory } from "./work-directory.ts";

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

describe("whoever wants the same file", () => {
  const never = new AbortController().signal;
  const gate = () => Promise.withResolvers<string>();

  test("waits until it was read, and who wants another does not", async () => {
    const inTurn = createTurns();
    const said: string[] = [];
    const first = gate();
    const read = (name: string, until?: Promise<string>) => async () => {
      said.push(name);
      return until ?? name;
    };
    const turns = [inTurn("/a", never, read("first", first.promise)), inTurn("/a", never, read("second"))];
    expect(await inTurn("/b", never, read("other"))).toBe("other");
    expect(said.sort()).toEqual(["first", "other"]);
    first.resolve("read");
    expect(await Promise.all(turns)).toEqual(["read", "second"]);
  });

  test("has its turn also after one that failed, and waits no longer than it is wanted", async () => {
    const inTurn = createTurns();
    const first = gate();
    const failing = faultOf(inTurn("/a", never, () => first.promise));
    const stop = new AbortController();
    let isRead = false;
    const leaving = faultOf(
      inTurn("/a", stop.signal, async () => {
        isRead = true;
      }),
    );
    const third = inTurn("/a", never, async () => "third");
    stop.abort();
    expect(await leaving).toMatchObject({ name: "AbortError" });
    first.reject(new Error("stale"));
    expect(await failing).toMatchObject({ message: "stale" });
    expect(await third).toBe("third");
    expect(isRead).toBe(false);
  });
});
