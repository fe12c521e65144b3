/**
 * The simulated world finds bugs: what protects jobs is taken out of a copy of the source, one at a time, and each time a
 * promise is broken in some world.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

interface Safeguard {
  readonly what: string;
  readonly file: string;
  /** Stands there once, and `without` in its place takes the safeguard away. */
  readonly text: string;
  readonly without: string;
}

const safeguards: readonly Safeguard[] = [
  {
    what: "a submission's intent is written down before it",
    file: "daemon/effects.ts",
    text: 'pool: "submissions", needsIntent: true',
    without: 'pool: "submissions", needsIntent: false',
  },
  {
    what: "a second submission waits until the first can not turn up any more",
    file: "job/job.ts",
    text: "return run.absentAt >= run.intentAt + fenceMs;",
    without: "return fenceMs > 0;",
  },
  {
    what: "a lost submission is looked for by its name",
    file: "scheduler/slurm.ts",
    text: "for (const ask of [site.queue, site.accounting]) {",
    without: "for (const ask of [site.queue, site.accounting].slice(2)) {",
  },
  {
    what: "a query that fails says nothing",
    file: "scheduler/slurm.ts",
    text: 'const queued = await site.queue([], signal);\n  if (queued.is === "unavailable") return queued;',
    without:
      'const queued = await site.queue([], signal);\n  if (queued.is === "unavailable") return { is: "answered", rows: new Map(runs.map((run) => [run.jobId, null])) };',
  },
  {
    what: "a run is its row's by name and id, not by id alone",
    file: "scheduler/slurm.ts",
    text: "return plain(named.find((row) => row.schedulerId === run.schedulerId));",
    without: "return plain([...rows.values()].flat().find((row) => row.schedulerId === run.schedulerId));",
  },
  {
    what: "a run is lost only after a long absence",
    file: "job/outcome.ts",
    text: "const graceMs = e.stop ? e.graces.cancelledMs : e.graces.lostMs;",
    without: "const graceMs = e.stop ? e.graces.cancelledMs : 0;",
  },
  {
    what: "an EMX2 that can not be asked is asked by one alone",
    file: "daemon/assemble.ts",
    text: "isServerDown: () => reach.isDown,",
    without: "isServerDown: () => false,",
  },
  {
    what: "a job is gone only when EMX2 says so twice",
    file: "daemon/server-watch.ts",
    text: "for (const job of await readEach(unknown, signal)) saw(job.id, null);",
    without: "for (const job of unknown) saw(job.id, null);",
  },
  {
    what: "a claim whose answer was lost is read",
    file: "job/fold-result.ts",
    text: 'return { ...job, claim: { stage: "claiming", doubt: true, ...refusal } };',
    without: 'return { ...job, claim: { stage: "refused", why: String(refusal) } };',
  },
  {
    what: "an attempt is closed before its end is told",
    file: "daemon/run-effects.ts",
    text: "if ((await despite(files.closeLease",
    without: "if (begun === -1 && (await despite(files.closeLease",
  },
  {
    what: "the end is told when outputs are committed",
    file: "job/settle.ts",
    text: 'if (job.run.stage !== "ended" || !settled(job.logs) || !settled(job.outputs)) return job;\n  const { outcome }',
    without: 'if (job.run.stage !== "ended") return job;\n  const { outcome }',
  },
  {
    what: "a seal that can not be seen yet is waited for",
    file: "job/outcome.ts",
    text: "if (e.graces.seals && e",
    without: "if (e.graces.sealMs < 0 && e",
  },
  {
    what: "outputs are those that the run has sealed",
    file: "job/outcome.ts",
    text: '...(typeof e.sealed === "string" ? { manifestSha256: e.sealed } : {}),',
    without: "",
  },
  {
    what: "a sealed output that can not be seen yet is waited for",
    file: "daemon/artifact-effects.ts",
    text: "  if (unseen) {",
    without: "  if (unseen && unseen.count < 0) {",
  },
  {
    what: "a job that EMX2 gave to another worker is stopped",
    file: "job/fold-server.ts",
    text: "if (seen.workerId !== null && seen.workerId !== job.workerId)\n    return stop",
    without: 'if (seen.workerId === "")\n    return stop',
  },
];

const seeds = 2_000;
const processes = 2;
const limitMs = 150_000;
const root = join(import.meta.dir, "../..");

describe("without it a promise is broken", () => {
  let copy: string;
  beforeAll(() => {
    copy = mkdtempSync(join(tmpdir(), "emx2-safeguards-"));
    for (const part of ["src", "tests/simulation"]) cpSync(join(root, part), join(copy, part), { recursive: true });
    cpSync(join(root, "package.json"), join(copy, "package.json"));
    symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
  });
  afterAll(() => rmSync(copy, { recursive: true, force: true }));

  test.each(safeguards)(
    "$what",
    async ({ file, text, without }) => {
      const path = join(copy, "src", file);
      const source = readFileSync(path, "utf8");
      expect(source.split(text)).toHaveLength(2);
      writeFileSync(
        path,
        source.replace(text, () => without),
      );
      try {
        expect(await firstBroken(copy)).toMatch(/seed \d+: .+; the whole of it: /);
      } finally {
        writeFileSync(path, source);
      }
    },
    limitMs,
  );
});

/** What the first process that finds one says; the others are ended. Empty: none does. */
async function firstBroken(directory: string): Promise<string> {
  const children = Array.from({ length: processes }, (_, index) =>
    Bun.spawn(
      [
        ...[process.execPath, "tests/simulation/simulate.ts", "--stop-at-first"],
        ...["--seeds", `${seeds}`, "--part", `${index + 1}/${processes}`],
      ],
      { cwd: directory, stderr: "inherit" },
    ),
  );
  const said = children.map(async (child) => {
    const out = await new Response(child.stdout).text();
    if ((await child.exited) === 0) throw new Error("no promise is broken");
    return out;
  });
  try {
    return await Promise.any(said).catch(() => "");
  } finally {
    for (const child of children) child.kill();
    await Promise.all(children.map((child) => child.exited));
  }
}
