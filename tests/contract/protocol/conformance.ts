/**
 * The frame of each file of the suite: its tests are run against every server under test, know that server's generation from
 * /health alone, and have at hand what makes jobs and artifacts, which are taken away again after each test.
 */
import { afterAll, afterEach, beforeEach, describe } from "bun:test";
import { systemClock } from "../../../src/clock.ts";
import { createClient, type Emx2Client } from "../../../src/emx2/client.ts";
import type { Generation } from "../../../src/emx2/generation.ts";
import { type Expectations, expectationsOf } from "./expectations.ts";
import { type Artifacts, artifactsOf, type Call, demand, type Jobs, jobsOf } from "./made.ts";
import { openServers, type ServerUnderTest } from "./servers.ts";
import { type Answer, type Sender, send } from "./wire-request.ts";

export interface Conformance extends Jobs, Artifacts {
  readonly generation: Generation;
  readonly expected: Expectations;
  readonly sender: Sender;
  /** Jobs of this processor are this suite's alone. */
  readonly processor: string;
  readonly call: Call;
  readonly client: Emx2Client;
  clientWith(credential: { mode: "hmac" | "token"; secret: string }): Emx2Client;
  /** Default: all that the tests need. null: the member is left out. */
  register(capabilities?: readonly object[] | null): Promise<Answer>;
}

export async function conformance(what: string, define: (server: Conformance) => void): Promise<void> {
  for (const server of await openServers()) {
    const { tidy, ...subject } = await subjectOf(server);
    describe(`${what}: ${server.name}`, () => {
      beforeEach(() => subject.register().then(() => undefined));
      afterEach(tidy);
      afterAll(async () => {
        await subject.register([]);
        await server.stop();
      });
      define(subject);
    });
  }
}

async function subjectOf(server: ServerUnderTest): Promise<Conformance & { tidy(): Promise<void> }> {
  const { url: baseUrl, workerId } = server;
  const clientWith: Conformance["clientWith"] = ({ mode, secret }) =>
    createClient({ baseUrl, workerId, credential: { mode, secret: () => secret }, clock: systemClock });
  const client = clientWith({ mode: "hmac", secret: server.secret });
  const generation = await client.generation();
  const expected = expectationsOf(generation);
  const sender: Sender = { ...server, signsContentHash: expected.signsContentHash };
  const processor = `conformance-${systemClock.uuid()}`;
  const call: Call = (method, path, request) => send(sender, method, path, request);
  const jobs = jobsOf(call, processor, workerId);
  const artifacts = artifactsOf(call);
  const all = ["cpu", "gpu"].map((profile) => ({ processor, profile, max_concurrent_jobs: 100 }));
  return {
    ...jobs,
    ...artifacts,
    generation,
    expected,
    sender,
    processor,
    call,
    client,
    clientWith,
    register(capabilities = all) {
      const worker = { worker_id: workerId, hostname: "conformance", ...(capabilities && { capabilities }) };
      return demand(200, call("POST", "/workers/register", { json: worker }));
    },
    // Both, even where the first fails.
    tidy: () => jobs.tidy().finally(artifacts.tidy),
  };
}
