/**
 * Requests: how a command asks a running daemon for something. There is no port and no socket; a small file in
 * `<state_dir>/requests/` is enough, whole or not there at all, and it waits for a daemon that is not running. What was refused
 * is answered in a file beside it.
 *
 * The directory is input: only what the state directory's own user wrote is read, and no link is followed.
 */
import { constants } from "node:fs";
import { type FileHandle, lstat, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import * as v from "valibot";
import { entry, openDirectory, openRegular } from "../artifacts/no-follow.ts";
import type { Clock } from "../clock.ts";
import { errnoOf, StateError } from "../errors.ts";
import { stateError } from "../journal/state-error.ts";

const maxTextChars = 256;
const text = v.pipe(v.string(), v.minLength(1), v.maxLength(maxTextChars));
/** `by`: who asks, for EMX2 to show. */
const Request = v.variant("kind", [
  v.strictObject({ kind: v.picklist(["cancel", "retry"]), jobId: text, by: text }),
  v.strictObject({ kind: v.literal("clean"), by: text }),
]);
export type Request = Readonly<v.InferOutput<typeof Request>>;

export type FoundRequest = { readonly name: string } & (
  | { readonly is: "request"; readonly request: Request }
  | { readonly is: "unusable"; readonly why: string }
);

const maxBytes = 4_096;
/** Taken at a time; the others wait for the next look. */
const maxRequests = 64;
const answersLastMs = 3_600_000;
const requestName = /^[0-9a-f-]{36}\.json$/;
const leftoverName = /^[0-9a-f-]{36}\.(new|refused)$/;
const asNew = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

export function requestsDir(stateDir: string): string {
  return join(stateDir, "requests");
}

/** Writes the request down, for whoever holds the state or will hold it next. Gives its name; throws StateError. */
export async function dropRequest(stateDir: string, request: Request, clock: Clock): Promise<string> {
  const path = requestsDir(stateDir);
  return await told(path, async () => {
    await mkdir(path, { mode: 0o700 }).catch((error: unknown) => {
      if (errnoOf(error) !== "EEXIST") throw error;
    });
    return await withRequests(stateDir, async (directory, owner) => {
      const id = clock.uuid();
      const uid = await writeNew(directory, { temporary: `${id}.new`, name: `${id}.json` }, JSON.stringify(request));
      if (uid === owner) return `${id}.json`;
      await rm(entry(directory, `${id}.json`), { force: true });
      const message = `${stateDir} belongs to uid ${owner}, and what you write to uid ${uid}: use the account of the daemon`;
      throw new StateError(message, { path, reason: "unusable" });
    });
  });
}

/** What has become of it. `refused`: why. Throws StateError. */
export async function answerTo(
  stateDir: string,
  name: string,
): Promise<"waits" | "taken" | { readonly refused: string }> {
  return await told(requestsDir(stateDir), () =>
    withRequests(stateDir, async (directory, owner) => {
      if (await isThere(entry(directory, name))) return "waits";
      const answer = answerName(name);
      if (!(await isThere(entry(directory, answer)))) return "taken";
      const file = await readOwn(directory, answer, owner);
      await rm(entry(directory, answer), { force: true });
      return { refused: "text" in file ? file.text.trim() : file.why };
    }),
  );
}

/** What lies there now, and removes what others have left half done. Throws the system's errors. */
export async function findRequests(stateDir: string, clock: Clock): Promise<FoundRequest[]> {
  const names = await readdir(requestsDir(stateDir)).catch((error: unknown) => {
    if (errnoOf(error) === "ENOENT") return [];
    throw error;
  });
  if (names.length === 0) return [];
  return withRequests(stateDir, async (directory, owner) => {
    for (const name of names.filter((name) => leftoverName.test(name))) await removeOld(directory, name, clock);
    const wanted = names.filter((name) => requestName.test(name)).slice(0, maxRequests);
    const found: FoundRequest[] = [];
    for (const name of wanted) found.push(await readRequest(directory, name, owner));
    return found;
  });
}

/** It is done with; `refused`: why, for whoever asked. Throws the system's errors. */
export async function concludeRequest(stateDir: string, name: string, refused?: string): Promise<void> {
  await withRequests(stateDir, async (directory) => {
    const answer = answerName(name);
    if (refused !== undefined && !(await isThere(entry(directory, answer)))) {
      const temporary = answer.replace(/refused$/, "new");
      // Of a daemon that was killed here, or found the disk full: it must not stand in the way of those behind it.
      await rm(entry(directory, temporary), { force: true });
      await writeNew(directory, { temporary, name: answer }, refused);
    }
    await rm(entry(directory, name), { force: true, recursive: true });
  });
}

async function readRequest(directory: FileHandle, name: string, owner: number): Promise<FoundRequest> {
  const file = await readOwn(directory, name, owner);
  if ("why" in file) return { name, is: "unusable", why: file.why };
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), Request), file.text);
  if (parsed.success) return { name, is: "request", request: parsed.output };
  return { name, is: "unusable", why: "it does not hold what a request holds" };
}

async function readOwn(
  directory: FileHandle,
  name: string,
  owner: number,
): Promise<{ readonly text: string } | { readonly why: string }> {
  const file = await openRegular(directory, name);
  if (file === null) return { why: "it is not a regular file" };
  try {
    const { uid } = await file.stat();
    if (uid !== owner) return { why: `it belongs to uid ${uid}, and the state directory to uid ${owner}` };
    const { buffer, bytesRead } = await file.read(Buffer.alloc(maxBytes + 1), 0, maxBytes + 1, 0);
    if (bytesRead > maxBytes) return { why: `it is larger than ${maxBytes} bytes` };
    return { text: buffer.toString("utf8", 0, bytesRead) };
  } finally {
    await file.close();
  }
}

/** `owner`: of the state directory. A network file system may show us under another number, so that ours is not asked. */
async function withRequests<T>(
  stateDir: string,
  use: (directory: FileHandle, owner: number) => Promise<T>,
): Promise<T> {
  const directory = await openDirectory(requestsDir(stateDir));
  try {
    return await use(directory, (await stat(stateDir)).uid);
  } finally {
    await directory.close();
  }
}

async function told<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw stateError(error, path);
  }
}

/** Gives the uid that the file has got. */
async function writeNew(
  directory: FileHandle,
  { temporary, name }: { readonly temporary: string; readonly name: string },
  content: string,
): Promise<number> {
  const file = await open(entry(directory, temporary), asNew, 0o600);
  let uid: number;
  try {
    await file.writeFile(`${content}\n`);
    await file.sync();
    uid = (await file.stat()).uid;
  } finally {
    await file.close();
  }
  await rename(entry(directory, temporary), entry(directory, name));
  return uid;
}

async function removeOld(directory: FileHandle, name: string, clock: Clock): Promise<void> {
  const stats = await lstat(entry(directory, name)).catch((error: unknown) => {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  });
  if (stats && clock.wall() - stats.mtimeMs > answersLastMs) await rm(entry(directory, name), { force: true });
}

function answerName(name: string): string {
  return name.replace(/json$/, "refused");
}

async function isThere(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    (error: unknown) => {
      if (errnoOf(error) === "ENOENT") return false;
      throw error;
    },
  );
}
