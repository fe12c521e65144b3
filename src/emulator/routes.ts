/** The endpoints: method, path, who may call, and what answers. */
import { type Answer, nothing } from "./answer.ts";
import { commit, createArtifact, deleteArtifact, readArtifact } from "./artifacts.ts";
import type { Call } from "./exchange.ts";
import { deleteFile, getFile, headFile, listFiles, postFile, putFile } from "./files.ts";
import type { Generation } from "./generation.ts";
import { cancelJob, createJob, deleteJob, listJobs, listTransitions, readJob } from "./jobs.ts";
import { badRequest, FrameworkRefusal } from "./refusals.ts";
import { claim, complete, transition } from "./transitions.ts";
import { deleteWorker, heartbeat, register } from "./workers.ts";

export interface Route {
  readonly method: string;
  readonly pattern: RegExp;
  readonly role: "viewer" | "editor";
  readonly run: (call: Call) => Answer | Promise<Answer>;
  /** There is no such route where the generation lacks this. */
  readonly only?: "hasComplete" | "hasMultipart";
}

/** `{id}` is a UUID, `{worker}` any word, `{file}` the rest with its slashes. */
const routes: readonly Route[] = [
  route("POST", "/workers/register", "editor", register),
  route("POST", "/workers/{worker}/heartbeat", "editor", heartbeat),
  route("DELETE", "/workers/{worker}", "editor", deleteWorker),
  route("POST", "/jobs", "editor", createJob),
  route("GET", "/jobs", "viewer", listJobs),
  route("GET", "/jobs/{id}", "viewer", readJob),
  route("DELETE", "/jobs/{id}", "editor", deleteJob),
  route("POST", "/jobs/{id}/claim", "editor", claim),
  route("POST", "/jobs/{id}/transition", "editor", transition),
  { ...route("POST", "/jobs/{id}/complete", "editor", complete), only: "hasComplete" },
  route("POST", "/jobs/{id}/cancel", "editor", cancelJob),
  route("GET", "/jobs/{id}/transitions", "viewer", listTransitions),
  route("POST", "/artifacts", "editor", createArtifact),
  route("GET", "/artifacts/{id}", "viewer", readArtifact),
  route("DELETE", "/artifacts/{id}", "editor", deleteArtifact),
  route("POST", "/artifacts/{id}/commit", "editor", commit),
  route("GET", "/artifacts/{id}/files", "viewer", listFiles),
  { ...route("POST", "/artifacts/{id}/files", "editor", postFile), only: "hasMultipart" },
  route("PUT", "/artifacts/{id}/files/{file}", "editor", putFile),
  route("GET", "/artifacts/{id}/files/{file}", "viewer", getFile),
  route("HEAD", "/artifacts/{id}/files/{file}", "viewer", headFile),
  route("DELETE", "/artifacts/{id}/files/{file}", "editor", deleteFile),
];

/** `path` as it stands on the wire. */
export function findRoute(
  generation: Generation,
  method: string,
  path: string,
): { route: Route; params: Call["params"] } {
  const found = match(generation, method, path);
  if (found !== undefined) {
    const { id = "", worker = "", file = "" } = found.parts;
    return { route: found.route, params: { id: decoded(id), worker: decoded(worker), file: decoded(file) } };
  }
  // The framework answers HEAD by itself wherever there is a GET.
  const reading = method === "HEAD" ? match(generation, "GET", path) : undefined;
  if (reading === undefined) throw new FrameworkRefusal(404, `Endpoint ${method} ${path} not found`);
  return { route: { ...reading.route, run: () => nothing(200) }, params: { id: "", worker: "", file: "" } };
}

/** Repeated slashes between fixed parts and one at the end do not matter. */
function route(method: string, path: string, role: Route["role"], run: Route["run"]): Route {
  const source = `/api/hpc${path}`
    .replaceAll("/", "/+")
    .replace("/+{file}", "/(?<file>.+?)")
    .replace(/\{(id|worker)\}/, "(?<$1>[^/]+)");
  return { method, pattern: new RegExp(`^${source}/?$`), role, run };
}

function match(
  generation: Generation,
  method: string,
  path: string,
): { route: Route; parts: Record<string, string> } | undefined {
  for (const route of routes) {
    if (route.only !== undefined && !generation[route.only]) continue;
    const matched = route.method === method ? route.pattern.exec(path) : null;
    const isOneSegment = generation.pathsHaveSlashes || !matched?.groups?.["file"]?.includes("/");
    if (matched !== null && isOneSegment) return { route, parts: matched.groups ?? {} };
  }
  return undefined;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw badRequest("malformed percent-encoding in path");
  }
}
