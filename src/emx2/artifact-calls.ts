/** The calls about artifacts and their files. */
import { ApiError, IntegrityError } from "../errors.ts";
import type { ArtifactFile, Emx2Client, FileFacts } from "./client.ts";
import { type ApiRequest, type Exchange, get, isNotFound, post, type Reply, unlessUnknown } from "./exchange.ts";
import { downloadBody } from "./transfer.ts";
import { filePath, query, urlPath } from "./url-path.ts";
import * as wire from "./wire.ts";

type ArtifactCalls = Pick<
  Emx2Client,
  "createArtifact" | "readArtifact" | "listFiles" | "getFile" | "headFile" | "putFile" | "commit"
>;

const filesPerPage = 1_000;

export function artifactCalls(exchange: Exchange, workerId: string): ArtifactCalls {
  const readArtifact: ArtifactCalls["readArtifact"] = (artifactId, call) =>
    unlessUnknown(exchange.json(get(urlPath("artifacts", artifactId)), wire.readArtifact, call));

  return {
    readArtifact,

    createArtifact: (artifact, call) =>
      exchange.json(
        { ...post(urlPath("artifacts"), wire.writeArtifact(workerId, artifact)), repeatable: false },
        wire.readCreated,
        call,
      ),

    async listFiles(artifactId, { maxFiles }, call) {
      const files: ArtifactFile[] = [];
      for (let total = Number.POSITIVE_INFINITY; files.length < total; ) {
        const path = `${urlPath("artifacts", artifactId, "files")}${query({ limit: filesPerPage, offset: files.length })}`;
        const page = await exchange.json(get(path), readFilesPage, call);
        total = page.total;
        if (total > maxFiles) throw tooManyFiles(artifactId, maxFiles, total);
        if (page.files.length === 0 && files.length < total) throw endsEarly(path, files.length, total);
        files.push(...page.files);
      }
      return files;
    },

    getFile: async (artifactId, path, call) =>
      exchange.send(
        { ...get(filePath(artifactId, path)), raw: true },
        async (reply) => ({ ...factsOf(reply), body: downloadBody(reply) }),
        call,
      ),

    headFile: async (artifactId, path, call) => {
      const head: ApiRequest = { ...get(filePath(artifactId, path)), method: "HEAD", raw: true };
      const facts = async (reply: Reply) => {
        reply.watch.end();
        return factsOf(reply);
      };
      try {
        return await unlessUnknown(exchange.send(head, facts, call));
      } catch (error) {
        // Not as good as EMX2's word, but all that a wrong one costs is a file sent, or fetched, once more.
        if (isNotFound(error, "bare")) return null;
        throw error;
      }
    },

    async putFile(artifactId, file, call) {
      const sha256 = file.sha256.toLowerCase();
      const upload: ApiRequest = {
        method: "PUT",
        path: filePath(artifactId, file.path),
        repeatable: true,
        upload: { bytes: file.bytes, sha256, body: file.body },
      };
      const stored = await exchange.json(upload, wire.readFile, call);
      const what = `${file.path} in artifact ${artifactId}`;
      mustMatch(`the hash of ${what}`, sha256, stored.sha256);
      mustMatch(`the size of ${what}`, String(file.bytes), String(stored.bytes));
    },

    async commit(artifactId, content, call) {
      const request = post(urlPath("artifacts", artifactId, "commit"), wire.writeCommit(content));
      const committed = await exchange.json(request, wire.readArtifact, call).catch(async (error) => {
        // The commit before this one may have arrived although its answer was lost.
        if (!(error instanceof ApiError && error.answer.status === 409)) throw error;
        const present = await readArtifact(artifactId, call);
        if (present?.status !== "COMMITTED" || present.sha256 !== content.sha256.toLowerCase()) throw error;
        return present;
      });
      mustMatch(`the status of artifact ${artifactId}`, "COMMITTED", committed.status);
      mustMatch(`the content hash of artifact ${artifactId}`, content.sha256.toLowerCase(), committed.sha256);
      return committed;
    },
  };
}

function readFilesPage(text: string): { readonly files: readonly ArtifactFile[]; readonly total: number } {
  const { items, total } = wire.readPage(text);
  if (total === null) throw new TypeError("it has no total_count");
  return { files: items.map(wire.readFile), total };
}

function tooManyFiles(artifactId: string, maxFiles: number, total: number): IntegrityError {
  const mismatch = { what: "number of files", expected: `at most ${maxFiles}`, actual: String(total) };
  return new IntegrityError(`artifact ${artifactId} has ${total} files, at most ${maxFiles} are allowed`, mismatch);
}

function endsEarly(path: string, seen: number, total: number): ApiError {
  const message = `EMX2's list of files ended after ${seen} of ${total}: GET ${path}`;
  return new ApiError(message, { status: 200, method: "GET", path });
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

function mustMatch(what: string, expected: string, actual: string | null): void {
  if (actual === expected) return;
  const message = `EMX2 acknowledged ${actual ?? "nothing"} as ${what}, which is ${expected}`;
  throw new IntegrityError(message, { what, expected, actual: actual ?? "" });
}
