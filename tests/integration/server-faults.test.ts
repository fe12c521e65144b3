/**
 * EMX2 answers 500, HTML, cut-off JSON or nothing for a while: that costs delay, never a job. Each job meets one fault at
 * one kind of request, before or after EMX2 has acted on it; all of them live side by side in one daemon.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../src/clock.ts";
import { isTerminal } from "../../src/job/status.ts";
import { callsOf } from "../fake-slurm/install.ts";
import { artifactsOf, committed } from "./committed.ts";
import { openStage, type Stage, statusesOf } from "./harness.ts";

const boundMs = 90_000;
const wholeLife = ["PENDING", "CLAIMED", "SUBMITTED", "STARTED", "COMPLETED"];
const input = { files: [{ path: "a.txt", content: "hello" }] };
const profiles = { copy: { program: 'cat "$HPC_INPUT_DIR"/*/* >"$HPC_OUTPUT_DIR/copy.bin"' } };
/** A hang is cut after this, as the real server does after 30 s. */
const hangMs = 2_000;
/** How often in a row a job's request of the faulty kind goes wrong. */
const faultsInARow = 2;

const faults: Readonly<Record<string, () => Promise<Response>>> = {
  "500": async () => Response.json({ title: "Internal Server Error", status: 500, detail: "boom" }, { status: 500 }),
  HTML: async () => new Response("<html><h1>502 proxy</h1>", { headers: { "content-type": "text/html" } }),
  "truncated JSON": async () =>
    new Response('{"id":"7c9e6679-7425-40de-944b-e07fc1f90ae7","sta', {
      headers: { "content-type": "application/json" },
    }),
  nothing: async () => {
    await systemClock.sleep(hangMs);
    throw new Error("cut");
  },
};

/** Requests about one job; on 404 for `/complete` another path would be taken, which is not meant here. */
const kinds: readonly (readonly [string, string, RegExp])[] = [
  ["claim", "POST", /\/claim$/],
  ["read the job", "GET", /\/jobs\/[^/]+$/],
  ["read an input's artifact", "GET", /\/artifacts\/[^/]+$/],
  ["list an input's files", "GET", /\/artifacts\/[^/]+\/files$/],
  ["fetch an input", "GET", /\/artifacts\/[^/]+\/files\/.+$/],
  ["report a status", "POST", /\/transition$/],
  ["report the end", "POST", /\/complete$/],
  ["create an artifact", "POST", /\/artifacts$/],
  ["upload a file", "PUT", /\/files\/.+$/],
  ["commit", "POST", /\/commit$/],
];

interface Case {
  readonly method: string;
  readonly path: RegExp;
  readonly fault: string;
  readonly when: "before" | "after";
  left: number;
}

const table = kinds.flatMap(([kind, method, path]) =>
  Object.keys(faults).flatMap((fault) =>
    (["before", "after"] as const).map((when) => ({ kind, method, path, fault, when })),
  ),
);

describe("a fault at one kind of request costs no job", () => {
  let stage: Stage;
  const idOf = new Map<object, string>();

  beforeAll(async () => {
    stage = await openStage({ profiles, worker: { max_concurrent_jobs: 200, max_concurrent_transfers: 8 } });
    const cases = new Map<string, Case>();
    for (const row of table) {
      const id = stage.submit("copy", input);
      idOf.set(row, id);
      cases.set(id, { ...row, left: faultsInARow });
    }
    stage.around = perJob(cases);
    stage.start("run");
  });
  afterAll(() => stage[Symbol.asyncDispose]());

  for (const row of table) {
    test(
      `${row.kind}: ${row.fault} ${row.when} EMX2 has acted`,
      async () => {
        const id = idOf.get(row) ?? "";
        await stage.untilStatus(id, "COMPLETED", boundMs);
        const job = stage.job(id);
        expect(statusesOf(job)).toEqual(wholeLife);
        expect(job.transitions.filter(({ to }) => isTerminal(to))).toHaveLength(1);
        expect(stage.ledger().filter((line) => line === id)).toHaveLength(1);
        for (const role of ["output", "log"] as const)
          expect(artifactsOf(stage, role, id).map(({ status }) => status)).toEqual(["COMMITTED"]);
        expect(new TextDecoder().decode(committed(stage, job.outputArtifactId).get("copy.bin"))).toBe("hello");
      },
      boundMs + 5_000,
    );
  }
});

/** A job's requests share their trace id, which its claim makes known. */
function perJob(cases: ReadonlyMap<string, Case>): NonNullable<Stage["around"]> {
  const jobOf = new Map<string, string>();
  return async (request, answer) => {
    const path = new URL(request.url).pathname;
    const trace = request.headers.get("x-trace-id") ?? "";
    const claimed = /\/jobs\/([^/]+)\/claim$/.exec(path)?.[1];
    if (claimed !== undefined) jobOf.set(trace, claimed);
    const mine = cases.get(jobOf.get(trace) ?? "");
    if (!mine || mine.left === 0 || mine.method !== request.method || !mine.path.test(path)) return answer();
    mine.left -= 1;
    if (mine.when === "after") await answer();
    return (faults[mine.fault] ?? answer)();
  };
}

describe("faults that meet the worker itself", () => {
  const general: readonly (readonly [string, RegExp])[] = [
    ["registering", /\/workers\/register$/],
    ["heartbeats", /\/heartbeat$/],
    ["the list of pending jobs", /\/jobs$/],
    ["everything", /./],
  ];
  for (const [name, path] of general) {
    test(
      `${name}: every kind of fault in turn, and then all goes on`,
      async () => {
        await using stage = await openStage({ profiles, worker: { heartbeat_interval_seconds: 0.5 } });
        const kindsOfFault = Object.values(faults);
        let met = 0;
        stage.around = (request, answer) => {
          const fault = path.test(new URL(request.url).pathname) ? kindsOfFault[met] : undefined;
          if (fault === undefined) return answer();
          met += 1;
          return fault();
        };
        const ids = [stage.submit("copy", input), stage.submit("copy", input)];
        stage.start("run");
        for (const id of ids) await stage.untilStatus(id, "COMPLETED", 60_000);
        await stage.until("every fault has been met", () => met === kindsOfFault.length, 60_000);
        expect(stage.ledger().sort()).toEqual([...ids].sort());
        expect(callsOf(stage.slurmDir, "sbatch")).toHaveLength(ids.length);
        for (const id of ids) expect(statusesOf(stage.job(id))).toEqual(wholeLife);
      },
      boundMs,
    );
  }

  test(
    "EMX2 forgets the worker: it registers again and goes on",
    async () => {
      await using stage = await openStage({ profiles, worker: { heartbeat_interval_seconds: 0.3 } });
      const run = stage.start("run");
      await stage.until("it is registered", () => stage.state.workers.size === 1);
      stage.state.workers.clear();
      await stage.until("it is registered again", () => stage.state.workers.size === 1);
      const id = stage.submit("copy", input);
      await stage.untilStatus(id, "COMPLETED");
      expect(run.exitCode()).toBeUndefined();
    },
    boundMs,
  );

  test(
    "EMX2 is gone while a job runs and ends: everything is brought in when it is back",
    async () => {
      const slow = { copy: { program: `sleep 1; ${profiles.copy.program}` } };
      await using stage = await openStage({ profiles: slow });
      const id = stage.submit("copy", input);
      stage.start("run");
      await stage.untilStatus(id, "STARTED");
      await stage.disconnect();
      await stage.until("the workload has ended", () => existsSync(join(stage.slurmDir, "jobs", "1.end")));
      await stage.reconnect();
      await stage.untilStatus(id, "COMPLETED", 60_000);
      expect(statusesOf(stage.job(id))).toEqual(wholeLife);
      expect(stage.ledger()).toEqual([id]);
    },
    boundMs,
  );
});

test(
  "an EMX2 that has forgotten every job that runs here is not believed at once: the jobs go on, and it is said",
  async () => {
    const waits = {
      program: 'while [ ! -e "$HPC_WORK_DIR/go-on" ]; do sleep 0.1; done; echo done >"$HPC_OUTPUT_DIR/d"',
    };
    await using stage = await openStage({ profiles: { waits } });
    const ids = [stage.submit("waits"), stage.submit("waits")];
    const run = stage.start("run");
    for (const id of ids) await stage.untilStatus(id, "STARTED");
    const known = [...stage.state.jobs];
    stage.state.jobs.clear();
    await stage.until("it is said", () => /error .*knows none of the jobs/.test(run.stderr()));
    const before = stage.requests.length;
    await stage.until("it was asked more often", () => stage.requests.length > before + 20);
    expect(callsOf(stage.slurmDir, "scancel")).toEqual([]);
    for (const [id, job] of known) stage.state.jobs.set(id, job);
    for (const id of ids) writeFileSync(join(stage.jobsDir, id, "work/go-on"), "");
    for (const id of ids) await stage.untilStatus(id, "COMPLETED");
  },
  boundMs,
);
