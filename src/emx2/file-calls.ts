/** The calls about the files of an artifact, which the two generations take in different ways. */
import type { Clock } from "../clock.ts";
import { ApiError, IntegrityError } from "../errors.ts";
import * as bodies from "./bodies.ts";
import type { Call, Emx2Client, FileFacts, FileUpload } from "./client.ts";
import { type ApiRequest, type Exchange, get, isNotFound, type Reply, unlessUnknown } from "./exchange.ts";
import type { Generation, Generations } from "./generation.ts";
import { mustMatch } from "./integrity.ts";
import { mediaType } from "./media-type.ts";
import { fileEnvelope } from "./multipart.ts";
import { sha256Hex } from "./signature.ts";
import { downloadBody, readBounded } from "./transfer.ts";
import { filePath, urlPath } from "./url-path.ts";
import * as wire from "./wire.ts";

type FileCalls = Pick<Emx2Client, "getFile" | "readFileText" | "headFile" | "putFile" | "putFileFacts">;

/** 2026-02 takes no more than this by PUT, and answers 500 "Content Too Large". */
const maxPutBytes = 10_000_000;
/** Files of one path that are cleared away before another is sent. */
const maxCopies = 10;

export function fileCalls(exchange: Exchange, generations: Generations, clock: Clock): FileCalls {
  /** Only a path with a slash in it reads differently to the two. */
  const toPath = async <T>(path: string, call: Call | undefined, send: (generation: Generation) => Promise<T>) =>
    path.includes("/") ? generations.sendIn(call, send) : send("2026-05");

  const headFile: FileCalls["headFile"] = (artifactId, path, call) =>
    toPath(path, call, (generation) => head(exchange, filePath(artifactId, path, generation), call));

  return {
    headFile,

    getFile: (artifactId, path, call) =>
      toPath(path, call, (generation) =>
        exchange.send(
          { ...get(filePath(artifactId, path, generation)), raw: true },
          async (reply) => ({ ...factsOf(reply), body: downloadBody(reply, call?.onBytes) }),
          call,
        ),
      ),

    readFileText: (artifactId, path, { maxBytes }, call) =>
      toPath(path, call, (generation) =>
        exchange.send(
          { ...get(filePath(artifactId, path, generation)), raw: true },
          async (reply) => {
            const { bytes, cut } = await readBounded(reply, maxBytes);
            if (cut) throw tooLong(`${path} in artifact ${artifactId}`, maxBytes);
            return new TextDecoder().decode(bytes);
          },
          call,
        ),
      ),

    putFile: (artifactId, file, call) =>
      generations.sendIn(call, async (generation) => {
        if (generation === "2026-02" && file.bytes > maxPutBytes) {
          return postFile(exchange, clock, artifactId, file, call);
        }
        const sha256 = file.sha256.toLowerCase();
        const upload: ApiRequest = {
          method: "PUT",
          path: filePath(artifactId, file.path, generation),
          repeatable: true,
          upload: {
            bytes: file.bytes,
            contentType: mediaType(file.path),
            body: file.body,
            ...(generation === "2026-05" && { sha256 }),
          },
        };
        mustBeStored(artifactId, file, await exchange.json(upload, wire.readFile, call));
      }),

    putFileFacts: (artifactId, file, call) =>
      generations.sendIn(call, async (generation) => {
        const json = bodies.factsText(file);
        const path = filePath(artifactId, file.path, generation);
        const stored = await exchange.json({ method: "PUT", path, repeatable: true, json }, wire.readFile, call);
        const given = { sha256: file.sha256.toLowerCase(), bytes: file.bytes };
        // 2026-02 stores the JSON itself as a file.
        const ofText = { sha256: sha256Hex(json), bytes: Buffer.byteLength(json) };
        const expected = generation === "2026-02" ? ofText : given;
        mustBeStored(artifactId, { path: file.path, ...expected }, stored);
        return expected;
      }),
  };
}

/**
 * Where 2026-02 is sent a file by POST it adds one, also at a path that has one already, and an artifact with two of a path
 * can never be committed. So it is looked first what is there, each time: an answer that was lost, or that says no after the
 * file was taken (Bun sends a request of a dead connection again, with the nonce that is used up: 401), is no reason to
 * send another.
 */
async function postFile(exchange: Exchange, clock: Clock, artifactId: string, file: FileUpload, call?: Call) {
  const { contentType, ...envelope } = fileEnvelope(file.path, mediaType(file.path), clock.uuid());
  const upload: ApiRequest = {
    method: "POST",
    path: urlPath("artifacts", artifactId, "files"),
    repeatable: false,
    once: true,
    upload: { bytes: file.bytes, contentType, body: file.body, envelope },
  };
  // Small calls, which are tried as often as any other.
  const { attempts: _ofTheBody, ...looking } = call ?? {};
  if (await isThereAlone(exchange, artifactId, file, looking)) return;
  const stored = await exchange.json(upload, wire.readFile, call).catch(async (error) => {
    // Neither is believed at first sight (retry.ts).
    if (!(error instanceof ApiError) || ![400, 401].includes(error.answer.status)) throw error;
    if (await isThereAlone(exchange, artifactId, file, looking)) return undefined;
    return exchange.json(upload, wire.readFile, call);
  });
  if (stored === undefined) return;
  mustMatch(`the path of ${file.path} in artifact ${artifactId}`, file.path, stored.path);
  mustBeStored(artifactId, file, stored);
}

/** Whether the file has arrived; whatever else is at its path is cleared away. */
async function isThereAlone(exchange: Exchange, artifactId: string, file: FileUpload, call?: Call): Promise<boolean> {
  const path = filePath(artifactId, file.path, "2026-02");
  for (let copies = 0; ; copies++) {
    const there = await head(exchange, path, call);
    if (there === null) return false;
    if (copies === maxCopies) {
      const mismatch = { what: "copies", expected: "none", actual: `more than ${maxCopies}` };
      throw new IntegrityError(`${file.path} in artifact ${artifactId} is there too often to be sent`, mismatch);
    }
    if (there.bytes === file.bytes && there.sha256 === file.sha256.toLowerCase()) return true;
    await exchange.send({ method: "DELETE", path, repeatable: true, raw: true }, ended, call);
  }
}

async function head(exchange: Exchange, path: string, call?: Call): Promise<FileFacts | null> {
  const request: ApiRequest = { ...get(path), method: "HEAD", raw: true };
  const facts = async (reply: Reply) => {
    await ended(reply);
    return factsOf(reply);
  };
  try {
    return await unlessUnknown(exchange.send(request, facts, call));
  } catch (error) {
    // Not as good as EMX2's word, but all that a wrong one costs is a file sent, or fetched, once more.
    if (isNotFound(error, "bare")) return null;
    throw error;
  }
}

async function ended(reply: Reply): Promise<void> {
  reply.watch.end();
}

function factsOf({ response, unreadable }: Reply): FileFacts {
  const { headers } = response;
  const encoding = headers.get("content-encoding") ?? "identity";
  if (encoding !== "identity") throw unreadable(`it is encoded as ${encoding}, although identity was asked for`);
  const length = headers.get("content-length");
  return {
    bytes: length !== null && /^\d+$/.test(length) ? Number(length) : null,
    sha256: headers.get("x-content-sha256")?.toLowerCase() ?? null,
  };
}

function mustBeStored(
  artifactId: string,
  file: { readonly path: string; readonly sha256: string; readonly bytes: number },
  stored: FileFacts,
): void {
  const what = `${file.path} in artifact ${artifactId}`;
  mustMatch(`the hash of ${what}`, file.sha256.toLowerCase(), stored.sha256);
  mustMatch(`the size of ${what}`, String(file.bytes), String(stored.bytes));
}

function tooLong(what: string, maxBytes: number): IntegrityError {
  const mismatch = { what: "size", expected: `at most ${maxBytes} bytes`, actual: "more" };
  return new IntegrityError(`${what} is longer than ${maxBytes} bytes, and so no description of a file`, mismatch);
}
