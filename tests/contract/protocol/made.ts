/** Jobs and artifacts that tests make, by the protocol alone, and that are taken away again by it. */
import type { JobStatus } from "../../../src/job/status.ts";
import type { Answer, WireRequest } from "./wire-request.ts";

/** `path` is what follows `/api/hpc`. */
export type Call = (method: string, path: string, request?: WireRequest) => Promise<Answer>;
type Members = Readonly<Record<string, unknown>>;
type Maker = "worker" | "submitter";

export interface Jobs {
  /** A new job's id. As text: the members beside processor and profile. */
  submit(job?: Members | string, by?: Maker): Promise<string>;
  /** A new job that has come so far on the shortest way. */
  jobIn(status: JobStatus): Promise<string>;
  report(jobId: string, body: Members): Promise<Answer>;
  read(jobId: string): Promise<Answer["json"]>;
}

export interface Artifacts {
  /** A new artifact's id. */
  create(artifact?: Members): Promise<string>;
  put(artifactId: string, path: string, content: Uint8Array | string, request?: WireRequest): Promise<Answer>;
  /** Of a committed artifact with one file, `a.txt`. */
  input(content?: string): Promise<string>;
  /** An artifact that was made otherwise is to be taken away too. */
  adopt(artifactId: string): void;
}

/** Takes away all that was made so far, whatever becomes of one of them. */
interface Tidy {
  tidy(): Promise<void>;
}

const shortestWay: Readonly<Record<JobStatus, readonly JobStatus[]>> = {
  PENDING: [],
  CLAIMED: ["CLAIMED"],
  SUBMITTED: ["CLAIMED", "SUBMITTED"],
  STARTED: ["CLAIMED", "SUBMITTED", "STARTED"],
  COMPLETED: ["CLAIMED", "SUBMITTED", "STARTED", "COMPLETED"],
  FAILED: ["CLAIMED", "FAILED"],
  CANCELLED: ["CANCELLED"],
};

export function jobsOf(call: Call, processor: string, worker_id: string): Jobs & Tidy {
  const made: { readonly id: string; readonly by: Maker }[] = [];
  const submit: Jobs["submit"] = async (job = {}, by = "submitter") => {
    const usual = { processor, profile: "cpu" };
    const body =
      typeof job === "string"
        ? { text: JSON.stringify(usual).replace(/\}$/, () => `,${job}}`) }
        : { json: { ...usual, ...job } };
    const id = idOf(await demand(201, call("POST", "/jobs", { as: by, ...body })));
    made.push({ id, by });
    return id;
  };
  const claim = (jobId: string) => call("POST", `/jobs/${jobId}/claim`, { json: { worker_id } });
  const report: Jobs["report"] = (jobId, body) =>
    call("POST", `/jobs/${jobId}/transition`, { json: { worker_id, ...body } });
  return {
    submit,
    report,
    read: async (jobId) => (await demand(200, call("GET", `/jobs/${jobId}`))).json,
    async jobIn(status) {
      const jobId = await submit();
      for (const next of shortestWay[status])
        await demand(200, next === "CLAIMED" ? claim(jobId) : report(jobId, { status: next }));
      return jobId;
    },
    tidy: () =>
      each(made.splice(0), async ({ id, by }) => {
        // One that has ended can not be cancelled, one that a test deleted is unknown.
        await demand([200, 404, 409], call("POST", `/jobs/${id}/cancel`, { as: by, json: {} }));
        await demand([204, 404], call("DELETE", `/jobs/${id}`, { as: by }));
      }),
  };
}

export function artifactsOf(call: Call): Artifacts & Tidy {
  const made: string[] = [];
  const create: Artifacts["create"] = async (artifact = {}) => {
    const id = idOf(await demand(201, call("POST", "/artifacts", { json: artifact })));
    made.push(id);
    return id;
  };
  const put: Artifacts["put"] = (artifactId, path, content, request) =>
    call("PUT", `/artifacts/${artifactId}/files/${path}`, { bytes: Buffer.from(content), ...request });
  return {
    create,
    put,
    async input(content = "content") {
      const artifactId = await create({ name: "in", type: "dataset", residence: "managed" });
      await demand(201, put(artifactId, "a.txt", content));
      await demand(200, call("POST", `/artifacts/${artifactId}/commit`, { json: {} }));
      return artifactId;
    },
    adopt: (artifactId) => void made.push(artifactId),
    tidy: () =>
      each(made.splice(0), async (artifactId) => {
        await demand([204, 404], call("DELETE", `/artifacts/${artifactId}`));
      }),
  };
}

/** For what a test only needs in order to begin: anything else than these statuses ends it. */
export async function demand(status: number | readonly number[], answer: Promise<Answer>): Promise<Answer> {
  const got = await answer;
  if ([status].flat().includes(got.status)) return got;
  throw new Error(`expected ${status}, and the server answered ${got.status}: ${got.text.slice(0, 500)}`);
}

async function each<T>(all: readonly T[], take: (one: T) => Promise<void>): Promise<void> {
  const failures: unknown[] = [];
  for (const one of all) await take(one).catch((cause) => failures.push(cause));
  if (failures.length > 0)
    throw new AggregateError(failures, `left on the server: ${failures.length} of ${all.length}`);
}

function idOf({ json }: Answer): string {
  return String(json["id"]);
}
