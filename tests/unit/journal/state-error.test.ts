import { expect, test } from "bun:test";
import { StateError } from "../../../src/errors.ts";
import { stateError } from "../../../src/journal/state-error.ts";

const path = "/state-of-a-test-that-is-not-there/journal.db";

const cases: readonly (readonly [code: string, reason: StateError["state"]["reason"], words: string])[] = [
  ["ENOSPC", "full", "disk full or quota used up: make room; nothing was half written (ENOSPC)"],
  [
    "SQLITE_IOERR_WRITE",
    "full",
    "disk full or quota used up: make room; nothing was half written (SQLITE_IOERR_WRITE)",
  ],
  ["SQLITE_BUSY", "busy", "another process has it open"],
  ["SQLITE_NOTADB", "damaged", "move the state directory aside and keep it"],
  ["EROFS", "unusable", "the file system is read-only (EROFS): have it mounted for writing"],
  ["EACCES", "unusable", "this user has no right to it (EACCES): let this user write there"],
  ["ESTALE", "unusable", "stale handle) (ESTALE): check that its file system is there"],
  ["SQLITE_CANTOPEN", "unusable", "it is not there (ENOENT): check that its file system is there"],
  ["SQLITE_IOERR_LOCK", "unusable", "it is not there (ENOENT): check that its file system is there"],
];

for (const [code, reason, words] of cases) {
  test(`${code} is ${reason}, with what to do and without the runtime's words`, () => {
    const thrown = Object.assign(new Error("words of the runtime"), { code });
    const error = stateError(thrown, path);
    if (!(error instanceof StateError)) throw new Error("no StateError");
    expect(error.state).toEqual({ path, reason });
    expect(error.message).toStartWith(`${path}: `);
    expect(error.message).toContain(words);
    expect(error.message).not.toContain("words of the runtime");
  });
}

test("what neither SQLite nor the file system said comes back as it is", () => {
  const bug = new TypeError("a bug");
  expect(stateError(bug, path)).toBe(bug);
});
