/** EMX2 as a whole can not be asked, for whatever reason: jobs go on, few ask, it is said plainly, and all comes in after. */
import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { addWorkerCredential, revokeWorkerCredential } from "../../src/emulator/submitter.ts";
import { isTerminal } from "../../src/job/status.ts";
import { artifactsOf } from "./committed.ts";
import { openStage, type Stage, statusesOf } from "./harness.ts";

const testMs = 150_000;
const wholeLife = ["PENDING", "CLAIMED", "SUBMITTED", "STARTED", "COMPLETED"];
const quick = { mark: { program: 'printf x >"$HPC_OUTPUT_DIR/x"' } };
/** Goes on until the test says so, or an end that is bounded. */
const gate = {
  gate: {
    program:
      'for i in $(seq 300); do [ ! -e "$HPC_WORK_DIR/go" ] || break; sleep 0.1; done; printf x >"$HPC_OUTPUT_DIR/x"',
  },
};

function hasRunOnce(stage: Stage, id: string): void {
  expect(statusesOf(stage.job(id))).toEqual(wholeLife);
  expect(stage.job(id).transitions.filter(({ to }) => isTerminal(to))).toHaveLength(1);
  expect(stage.ledger().filter((line) => line === id)).toHaveLength(1);
  expect(artifactsOf(stage, "output", id).map(({ status }) => status)).toEqual(["COMMITTED"]);
}

function endedInSlurm({ slurmDir }: Stage): number {
  return readdirSync(join(slurmDir, "jobs")).filter((name) => /^[1-9]\d*\.end$/.test(name)).length;
}

describe("EMX2 is gone while 100 jobs run and end", () => {
  const jobs = 100;
  /** The poll, the control calls, the scripts and the transfers that were under way, each tried thrice; then one probe at a time. */
  const mostUnderWay = (1 + 8 + 4 + 4) * 3;
  const probes = 3;

  test(
    "few requests however many jobs wait, nothing is claimed, each report is made once and in order",
    async () => {
      const worker = { max_concurrent_jobs: jobs + 1, heartbeat_interval_seconds: 600 };
      await using stage = await openStage({
        profiles: { mark: { program: `sleep 4; ${quick.mark.program}` } },
        worker,
      });
      const ids = Array.from({ length: jobs }, () => stage.submit("mark"));
      const run = stage.start("run");
      await stage.until("all are submitted", () => ids.every((id) => stage.job(id).slurmJobId), 60_000);
      const gone = stage.requests.length;
      stage.around = () => Promise.reject(new Error("cut"));
      const late = stage.submit("mark");
      const since = () => stage.requests.slice(gone);
      await stage.until("all have ended in Slurm", () => endedInSlurm(stage) === jobs, 60_000);
      await stage.until(
        "EMX2 was probed",
        () => since().filter((line) => line.endsWith("/heartbeat")).length >= probes,
      );
      const asked = since().length;
      console.log(`${jobs} jobs, EMX2 gone: ${asked} requests until the probe number ${probes}`);
      expect(asked).toBeLessThanOrEqual(mostUnderWay + probes);
      expect(run.stderr().match(/ warn .*EMX2 can not be asked now/g)).toHaveLength(1);
      expect(stage.job(late).status).toBe("PENDING");
      stage.around = undefined;
      for (const id of [...ids, late]) await stage.untilStatus(id, "COMPLETED", 60_000);
      for (const id of [...ids, late]) hasRunOnce(stage, id);
      expect(run.stderr()).toContain("EMX2 answers again");
    },
    testMs,
  );
});

/** Every answer stands for a cause that is told apart from the others by what the log says of it. */
const causes: readonly (readonly [string, "error" | "warn", () => Promise<Response>, RegExp])[] = [
  [
    "a proxy's notice in place of EMX2",
    "warn",
    async () => new Response("<html><title>Maintenance</title>", { headers: { "content-type": "text/html" } }),
    /web page.*check emx2\.base_url/,
  ],
  [
    "a gateway without EMX2 behind it",
    "warn",
    async () => new Response("<h1>502</h1>", { status: 502 }),
    /EMX2 answered 502/,
  ],
  [
    "another host in its place",
    "error",
    async () => new Response(null, { status: 302, headers: { location: "https://sso.example.org/login" } }),
    /redirect to sso\.example\.org, which is not followed/,
  ],
  ["no right to the interface", "error", async () => problem(403, "no right"), /403 .*no right/],
];

function problem(status: number, detail: string): Response {
  const headers = { "content-type": "application/problem+json" };
  return Response.json({ type: "about:blank", title: "Refused", status, detail }, { status, headers });
}

describe("the cause is said once, with what to do, and then all goes on", () => {
  test.each(causes)(
    "%s",
    async (_, level, answer, words) => {
      await using stage = await openStage({ profiles: quick });
      stage.around = answer;
      const id = stage.submit("mark");
      const run = stage.start("run");
      const said = () => run.stderr().match(new RegExp(` ${level} .*EMX2 can not be asked now.*`, "g")) ?? [];
      await stage.until("it is said", () => said().length > 0);
      const before = stage.requests.length;
      await stage.until("it was probed again", () => stage.requests.length >= before + 2);
      expect(said()).toHaveLength(1);
      expect(said()[0]).toMatch(words);
      stage.around = undefined;
      await stage.untilStatus(id, "COMPLETED", 60_000);
    },
    testMs,
  );

  test(
    "HPC is switched off in EMX2 while a job runs",
    async () => {
      await using stage = await openStage({ profiles: gate });
      const id = stage.submit("gate");
      const run = stage.start("run");
      await stage.untilStatus(id, "STARTED");
      stage.state.settings.hpcEnabled = false;
      await stage.until("it is said", () => / error .*503.*switched off.*MOLGENIS_HPC_ENABLED/.test(run.stderr()));
      writeFileSync(join(stage.jobsDir, id, "work/go"), "");
      await stage.until("it has ended in Slurm", () => endedInSlurm(stage) === 1);
      stage.state.settings.hpcEnabled = true;
      await stage.untilStatus(id, "COMPLETED", 60_000);
      hasRunOnce(stage, id);
    },
    testMs,
  );

  test(
    "a clock that is off is not taken for a wrong secret",
    async () => {
      await using stage = await openStage({ profiles: quick });
      const date = new Date(Date.UTC(2020, 0, 1)).toUTCString();
      stage.around = async (_request, answer) => {
        const { status, body } = await answer();
        return status < 400 ? new Response(body, { status }) : new Response(body, { status, headers: { date } });
      };
      revokeWorkerCredential(stage.state, stage.workerId);
      const run = stage.start("run");
      await stage.until("it is said", () => / error .*401.*clock is \d+ s ahead of EMX2's/.test(run.stderr()));
      expect(run.stderr()).not.toContain("check emx2.worker_id");
    },
    testMs,
  );
});

describe("the secret", () => {
  const refusals = ({ requests }: Stage) => requests.length;

  test(
    "is wrong: said once, not hammered, and read again as soon as its file changes",
    async () => {
      await using stage = await openStage({ profiles: quick, worker: { heartbeat_interval_seconds: 0.3 } });
      const file = join(stage.dir, "secret");
      writeFileSync(file, "a wrong secret, as long as they must be\n", { mode: 0o600 });
      const id = stage.submit("mark");
      const run = stage.start("run");
      const said = () => run.stderr().match(/ error .*EMX2 can not be asked now.*/g) ?? [];
      await stage.until("it is said", () => said().length > 0);
      expect(said()[0]).toMatch(/401.*check emx2\.worker_id .*secret file/);
      // Gone, then half of it: neither is another secret to try.
      rmSync(file);
      await stage.until("its loss is said", () => run.stderr().includes("the secret can not be read again"));
      expect(refusals(stage)).toBeLessThanOrEqual(4);
      writeFileSync(file, "", { mode: 0o600 });
      writeFileSync(file, `${stage.secret}\n`, { mode: 0o600 });
      await stage.untilStatus(id, "COMPLETED", 20_000);
      expect(said()).toHaveLength(1);
    },
    testMs,
  );

  test(
    "is revoked while a job runs: the job goes on, and with the next secret all is brought in, without a restart",
    async () => {
      await using stage = await openStage({ profiles: gate });
      const id = stage.submit("gate");
      const run = stage.start("run");
      await stage.untilStatus(id, "STARTED");
      revokeWorkerCredential(stage.state, stage.workerId);
      await stage.until("it is said", () => / error .*EMX2 can not be asked now.*401/.test(run.stderr()));
      writeFileSync(join(stage.jobsDir, id, "work/go"), "");
      await stage.until("it has ended in Slurm", () => existsSync(join(stage.slurmDir, "jobs/1.end")));
      addWorkerCredential(stage.state, stage.workerId, `${stage.secret}-the-next`);
      writeFileSync(join(stage.dir, "secret"), `${stage.secret}-the-next\n`);
      await stage.untilStatus(id, "COMPLETED", 20_000);
      hasRunOnce(stage, id);
      expect(run.exitCode()).toBeUndefined();
    },
    testMs,
  );
});
