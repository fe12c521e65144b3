/** In the simulation the client runs in memory: nothing it does may need the event loop, and only the clock may pass time. */
import { expect, test } from "bun:test";
import { type Clock, sleepOn, systemClock } from "../../../src/clock.ts";
import { handle } from "../../../src/emulator/handle.ts";
import { createState } from "../../../src/emulator/state.ts";
import { addArtifact, addJob, addWorkerCredential } from "../../../src/emulator/submitter.ts";
import { createClient, type Emx2Client, type Fetch } from "../../../src/emx2/client.ts";
import { sha256Hex } from "../../../src/emx2/signature.ts";
import { NetworkError } from "../../../src/errors.ts";
import { secret } from "./raw-server.ts";

/** Time stands still until `advance`. */
class VirtualClock implements Clock {
  now = Date.UTC(2026, 0, 1);
  readonly timers = new Set<{ at: number; wake: () => void }>();
  readonly random = () => 0;
  readonly randomBytes = systemClock.randomBytes;
  readonly uuid = systemClock.uuid;
  wall = () => this.now;
  mono = () => this.now;
  sleep = (ms: number, signal?: AbortSignal) => sleepOn(this, ms, signal);
  timer(ms: number, wake: () => void): () => void {
    const timer = { at: this.now + ms, wake };
    this.timers.add(timer);
    return () => void this.timers.delete(timer);
  }
  advance(): void {
    const [next] = [...this.timers].sort((a, b) => a.at - b.at);
    if (!next) throw new Error("nothing is due");
    this.timers.delete(next);
    this.now = next.at;
    next.wake();
  }
}

/** Settles within microtasks or not at all. */
async function settled<T>(promise: Promise<T>): Promise<T | "pending"> {
  let outcome: { value: T } | { error: unknown } | undefined;
  promise.then(
    (value) => (outcome = { value }),
    (error) => (outcome = { error }),
  );
  for (let turn = 0; turn < 2_000 && outcome === undefined; turn++) await Promise.resolve();
  if (outcome === undefined) return "pending";
  if ("error" in outcome) throw outcome.error;
  return outcome.value;
}

function clientOn(clock: Clock, fetch: Fetch): Emx2Client {
  return createClient({
    baseUrl: "http://emx2.test",
    workerId: "w1",
    credential: { mode: "hmac", secret: () => secret },
    clock,
    fetch,
  });
}

test("a job's calls settle in microtasks and leave no timer behind", async () => {
  const clock = new VirtualClock();
  const state = createState({ uuid: clock.uuid, wall: clock.wall });
  addWorkerCredential(state, "w1", secret);
  const client = clientOn(clock, (url, init) => handle(state, new Request(url, init), clock.wall()));
  const capabilities = [{ processor: "p", profile: "q", maxConcurrentJobs: 1 }];
  await settled(client.register({ hostname: "h", capabilities }));
  const jobId = addJob(state, { processor: "p", profile: "q" });
  const inputId = addArtifact(state, { files: [{ path: "f", content: "hello" }] });
  expect(await settled(client.listJobs({ status: "PENDING" }))).toMatchObject({ total: 1 });
  expect(await settled(client.claim(jobId))).toMatchObject({ status: "CLAIMED" });
  const download = client.getFile(inputId, "f").then(({ body }) => new Response(body).text());
  expect(await settled(download)).toBe("hello");
  const metadata = {
    jobId,
    processor: "p",
    profile: "q",
    role: "output",
    createdBy: null,
    inputArtifactIds: [inputId],
    parametersHash: sha256Hex("{}"),
  } as const;
  const created = await settled(client.createArtifact({ type: "blob", residence: "managed", name: "o", metadata }));
  if (created === "pending") return expect.unreachable();
  const body = () =>
    new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(new TextEncoder().encode("hello"));
        controller.close();
      },
    });
  const file = { path: "f", bytes: 5, sha256: sha256Hex("hello"), body };
  expect(await settled(client.putFile(created.artifactId, file))).toBeUndefined();
  expect(await settled(client.commit(created.artifactId, { sha256: sha256Hex("hello"), bytes: 5 }))).toMatchObject({
    status: "COMMITTED",
  });
  expect(clock.timers.size).toBe(0);
});

test("a request that is never answered ends by the clock alone, whatever fetch makes of the signal", async () => {
  const clock = new VirtualClock();
  const client = clientOn(clock, () => new Promise<Response>(() => undefined));
  const call = client.readJob("a", { attempts: 1 });
  call.catch(() => undefined);
  const startedAt = clock.now;
  clock.advance();
  const error = await settled(call).catch((cause) => cause);
  expect(error).toBeInstanceOf(NetworkError);
  expect(clock.now - startedAt).toBe(60_000);
});
