/** What comes from the server, from submitters and from jobs may be meant to do harm. */
import { expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { join, relative } from "node:path";
import { cancelJob } from "../../src/emulator/submitter.ts";
import { callsOf } from "../fake-slurm/install.ts";
import { openStage, type Stage } from "./harness.ts";

const testMs = 60_000;
const forged = "\u001b]0;owned\u0007\u001b[2J\r\nerror a line of its own\u202e";
const copy = { program: 'cat "$HPC_INPUT_DIR"/*/* >"$HPC_OUTPUT_DIR/copy.bin"' };

/** Everything below the stage that is not where the daemon and Slurm are to write. */
function outsideOf({ dir }: Stage): string[] {
  const ours = /^(jobs|state|slurm)(\/|$)|^ledger$/;
  const names = readdirSync(dir, { recursive: true, encoding: "utf8" });
  return names.filter((name) => !ours.test(relative(dir, join(dir, name)))).sort();
}

/** Bytes that drive a terminal, or that could pass for a line of the log itself. */
function expectHarmless(log: string): void {
  expect(log.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/u);
  for (const line of log.trimEnd().split("\n"))
    expect(line).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z (error|warn |info |debug) /);
}

function expectNoSecret({ state, secret }: Stage): void {
  const files = [...state.artifacts.values()].flatMap((artifact) => [...artifact.files.values()]);
  expect(files.length).toBeGreaterThan(0);
  for (const { path, content } of files) {
    expect(new TextDecoder().decode(content ?? undefined)).not.toContain(secret);
    expect(path).not.toMatch(/^(up|etc|state)\//);
  }
}

/** Puts jobs of the test's own making into the list of pending jobs. */
function addToList(stage: Stage, items: readonly object[]): void {
  stage.around = async (request, answer) => {
    const response = await answer();
    const { pathname, searchParams } = new URL(request.url);
    if (!pathname.endsWith("/jobs") || searchParams.get("status") !== "PENDING") return response;
    const list = (await response.json()) as { items: object[] };
    return Response.json({ ...list, items: [...items, ...list.items] });
  };
}

test(
  "job ids that are no ids are left alone, and the jobs beside them run",
  async () => {
    await using stage = await openStage({ profiles: { copy } });
    const ids = [
      "../../evil",
      "/tmp/evil",
      "a/b",
      "..",
      ".",
      "",
      "x\n--uid=0",
      "-rf",
      forged,
      "a".repeat(5_000),
      7,
      null,
    ];
    addToList(
      stage,
      ids.map((id) => ({ id, processor: "copy", profile: "default", status: "PENDING", inputs: [], parameters: {} })),
    );
    const before = outsideOf(stage);
    const good = stage.submit("copy", { files: [{ path: "a.txt", content: "a" }] });
    const run = stage.start("run", "-v");
    await stage.untilStatus(good, "COMPLETED");
    expect(outsideOf(stage)).toEqual(before);
    expect(readdirSync(stage.jobsDir)).toContain(good);
    expect(readdirSync(stage.jobsDir).filter((name) => name !== good && name !== "7")).toEqual([]);
    expect(callsOf(stage.slurmDir, "sbatch")).toHaveLength(1);
    expectHarmless(run.stderr());
  },
  testMs,
);

const unusable = [
  "../../x",
  "/etc/emx2-x",
  "a/../../../../x",
  "..",
  ".",
  "a//b",
  "a/./b",
  "nul\0byte",
  "x".repeat(300),
];

for (const path of unusable) {
  test(
    `an input file named ${JSON.stringify(path.slice(0, 20))} fails its job by name and is written nowhere`,
    async () => {
      await using stage = await openStage({ profiles: { copy } });
      const before = outsideOf(stage);
      const files = [
        { path: "fine.txt", content: "" },
        { path, content: "harm" },
      ];
      const id = stage.submit("copy", { files });
      const run = stage.start("run", "-v");
      await stage.untilStatus(id, "FAILED");
      expect(stage.job(id).transitions.at(-1)?.detail).toContain(JSON.stringify(path).slice(1, 20));
      expect(outsideOf(stage)).toEqual(before);
      expect(existsSync("/etc/emx2-x")).toBe(false);
      expect(stage.ledger()).toEqual([]);
      expectHarmless(run.stderr());
    },
    testMs,
  );
}

test(
  "links in the output lead nowhere: neither the daemon's secret nor any other file behind them is uploaded",
  async () => {
    const program = [
      'cd "$HPC_OUTPUT_DIR"; echo fine >fine.txt',
      'ln -s "$HPC_OUTPUT_DIR/../../../secret" secret.txt; ln -s "$HPC_OUTPUT_DIR/../../../secret" secret.log',
      'ln -s ../../.. up; ln -s /etc etc; ln -s "$HPC_OUTPUT_DIR/../../../state" state; mkfifo pipe.log; ln -s loop loop',
      'ln -sf "$HPC_OUTPUT_DIR/../../../secret" ../.emx2/container-stdout.log',
    ].join("\n");
    await using stage = await openStage({ profiles: { links: { program } } });
    const id = stage.submit("links");
    const run = stage.start("run", "-v");
    await stage.until("it has ended", () => stage.job(id).completedAt !== null);
    expectNoSecret(stage);
    expect(
      stage
        .job(id)
        .transitions.map(({ detail }) => detail)
        .join(),
    ).not.toContain(stage.secret);
    expectHarmless(run.stderr());
  },
  testMs,
);

test(
  "an output directory that a job replaced by a link is not followed",
  async () => {
    const program = 'rm -r "$HPC_OUTPUT_DIR"; ln -s "$HPC_WORK_DIR/../../.." "$HPC_OUTPUT_DIR"';
    // Of such a directory no seal is made that could be waited for.
    await using stage = await openStage({ profiles: { swap: { program } }, worker: { receipt_wait_seconds: 0 } });
    const id = stage.submit("swap");
    stage.start("run", "-v");
    await stage.untilStatus(id, "FAILED");
    const detail = stage.job(id).transitions.at(-1)?.detail;
    expect(detail).toContain("exit_code=0:0");
    expect(detail).toContain("outputs were not uploaded");
    expectNoSecret(stage);
  },
  testMs,
);

test(
  "words of the server, of submitters and of jobs can not drive the terminal or forge a line of the log",
  async () => {
    const program = `printf '%b' '\\033]0;owned\\007\\033[2J\\r\\n2026-01-01T00:00:00.000Z error forged' >&2; exit 3`;
    await using stage = await openStage({ profiles: { fails: { program } } });
    addToList(stage, [{ id: forged, processor: forged, profile: forged, status: forged, parameters: forged }]);
    const inner = stage.around;
    let refused = 3;
    stage.around = async (request, answer) => {
      if (request.url.endsWith("/claim") && refused-- > 0)
        return Response.json({ title: forged, status: 503, detail: forged }, { status: 503 });
      return inner ? inner(request, answer) : answer();
    };
    const id = stage.submit("fails", { parametersText: JSON.stringify({ note: forged, args: [forged] }) });
    const other = stage.submit("fails", { parametersText: JSON.stringify({ environment: { [forged]: "x" } }) });
    const run = stage.start("run", "-v");
    await stage.untilStatus(id, "FAILED");
    await stage.untilStatus(other, "FAILED");
    expectHarmless(run.stderr());
    expect(stage.job(id).transitions.at(-1)?.detail).toContain("exit_code=3:0");
    expect(stage.ledger()).toEqual([id]);
  },
  testMs,
);

test(
  "a job directory that a job replaced by a file is said once, however often it is looked at, and the others go on",
  async () => {
    const replace = 'cd "$HPC_WORK_DIR/../.."; mv "$HPC_JOB_ID" aside; : >"$HPC_JOB_ID"; sleep 30';
    await using stage = await openStage({ profiles: { replace: { program: replace }, copy } });
    const bad = stage.submit("replace");
    const run = stage.start("run");
    const said = () =>
      run
        .stderr()
        .split("\n")
        .filter((line) => line.includes("something else stands") && line.includes(bad));
    await stage.until("it is said", () => said().length > 0);
    const looks = () => callsOf(stage.slurmDir, "squeue").length;
    const before = looks();
    const good = stage.submit("copy", { files: [{ path: "a", content: "a" }] });
    await stage.untilStatus(good, "COMPLETED");
    await stage.until("it was looked at more often", () => looks() > before + 5);
    expect(said()).toHaveLength(1);
    cancelJob(stage.state, bad);
    await stage.until("its run is ended all the same", () => callsOf(stage.slurmDir, "scancel").length > 0);
  },
  testMs,
);
