/** The calls about artifacts as wholes; those about single files are in `file-calls.ts`. */
import { ApiError, IntegrityError } from "../errors.ts";
import * as bodies from "./bodies.ts";
import type { ArtifactFile, Emx2Client } from "./client.ts";
import { type Exchange, get, post, unlessUnknown } from "./exchange.ts";
import type { Generations } from "./generation.ts";
import { mustMatch } from "./integrity.ts";
import { OversizedAnswer } from "./refusal.ts";
import { query, urlPath } from "./url-path.ts";
import * as wire from "./wire.ts";

type ArtifactCalls = Pick<Emx2Client, "createArtifact" | "readArtifact" | "listFiles" | "deleteArtifact" | "commit">;

const filesPerPage = 1_000;

export function artifactCalls(exchange: Exchange, generations: Generations, workerId: string): ArtifactCalls {
  const readArtifact: ArtifactCalls["readArtifact"] = (artifactId, call) =>
    unlessUnknown(exchange.json(get(urlPath("artifacts", artifactId)), wire.readArtifact, call));

  return {
    readArtifact,

    createArtifact: (artifact, call) =>
      exchange.json(
        { ...post(urlPath("artifacts"), bodies.writeArtifact(workerId, artifact)), repeatable: false },
        wire.readCreated,
        call,
      ),

    async *listFiles(artifactId, { maxFiles }, call) {
      let seen = 0;
      let before: readonly ArtifactFile[] = [];
      let limit = filesPerPage;
      let askedWhole = false;
      for (let total = Number.POSITIVE_INFINITY; seen < total; ) {
        const path = `${urlPath("artifacts", artifactId, "files")}${query({ limit, offset: seen })}`;
        const page = await exchange.json(get(path), wire.readFiles, call).catch((error) => {
          if (!(error instanceof OversizedAnswer) || limit === filesPerPage) throw error;
          limit = filesPerPage;
        });
        if (!page) continue;
        total = page.total;
        if (total > maxFiles) throw tooManyFiles(artifactId, maxFiles, total);
        if (!askedWhole && page.files.length < total) {
          askedWhole = true;
          // Its pages are in no order, not even the same from one request to the next.
          if ((await generations.present(call)) === "2026-02") {
            limit = total;
            continue;
          }
        }
        const wrong = whyWrong(page, before, seen);
        if (wrong !== null) throw wrongList(path, wrong);
        seen += page.files.length;
        before = page.files;
        yield page.files;
      }
    },

    async deleteArtifact(artifactId, call) {
      const request = {
        method: "DELETE",
        path: urlPath("artifacts", artifactId),
        repeatable: true,
        raw: true,
      } as const;
      await unlessUnknown(exchange.send(request, async ({ watch }) => watch.end(), call));
    },

    async commit(artifactId, content, call) {
      const request = post(urlPath("artifacts", artifactId, "commit"), bodies.writeCommit(content));
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

function tooManyFiles(artifactId: string, maxFiles: number, total: number): IntegrityError {
  const mismatch = { what: "number of files", expected: `at most ${maxFiles}`, actual: String(total) };
  return new IntegrityError(`artifact ${artifactId} has ${total} files, at most ${maxFiles} are allowed`, mismatch);
}

/** Taken as it is, such a list would have no end, or have files twice. */
function whyWrong(
  { files, total }: ReturnType<typeof wire.readFiles>,
  before: readonly ArtifactFile[],
  seen: number,
): string | null {
  if (seen + files.length > total) return `has ${seen + files.length} files, and says ${total}`;
  if (files.length === 0 && seen < total) return `ended after ${seen} of ${total}`;
  const known = new Set(before.map(({ path }) => path));
  const isSame = files.length > 0 && files.every(({ path }) => known.has(path));
  return isSame ? `has the same files again after ${seen} of ${total}` : null;
}

function wrongList(path: string, wrong: string): ApiError {
  const message = `EMX2's list of files ${wrong}: GET ${path}`;
  return new ApiError(message, { status: 200, method: "GET", path });
}
