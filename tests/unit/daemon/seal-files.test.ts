/** Outputs that can not be taken as they are now: how long they are waited for, and that the job fails then. */
import { expect, test } from "bun:test";
import { appendFileSync, mkdirSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sealFiles } from "../../../src/daemon/artifact-effects.ts";
import type { EffectContext } from "../../../src/daemon/effect-context.ts";
import { reportDetail } from "../../../src/job/detail.ts";
import { fold } from "../../../src/job/fold.ts";
import type { Job } from "../../../src/job/job.ts";
import { createLog } from "../../../src/log.ts";
import { ownerOf, sha256, type WorkDirectory, workDirectory } from "../artifacts/work-directory.ts";
import { closedRun, exited, noFiles, observed, play, row, startAt, succeeded, toTracked } from "../job/story.ts";

const log = createLog({ json: false, color: false, level: "error", write: () => undefined });
const outputs = { kind: "SealFiles", role: "output" } as const;
const logs = { kind: "SealFiles", role: "log" } as const;

const never = new AbortController().signal;

async function sealed(w: WorkDirectory, failures: number, manifestSha256?: string, signal = never) {
  const outcome = { ...succeeded, outputDir: "output", ...(manifestSha256 !== undefined && { manifestSha256 }) };
  const ended = play([...toTracked, observed(row("COMPLETED"), exited(0)), closedRun(outcome), noFiles("log")]);
  const job: Job = { ...ended, dir: w.dir, waits: { outputs: { failures, until: 0, cause: "" } } };
  return (await sealFiles(job, outputs, { files: w.files, log } as EffectContext, signal)).result;
}

async function sealedLogs(w: WorkDirectory, failures: number) {
  const lines: string[] = [];
  const log = createLog({ json: false, color: false, level: "warn", write: (line) => lines.push(line) });
  const outcome = { ...succeeded, outputDir: "output" };
  const ended = play([...toTracked, observed(row("COMPLETED"), exited(0)), closedRun(outcome)]);
  const job: Job = { ...ended, dir: w.dir, waits: { logs: { failures, until: 0, cause: "" } } };
  const { result } = await sealFiles(job, logs, { files: w.files, log } as EffectContext, never);
  return { result, ended, outcome, lines };
}

async function finished() {
  const w = workDirectory();
  await w.files.create(w.dir, ownerOf());
  mkdirSync(join(w.dir, "output"), { recursive: true });
  return w;
}

test("what was sealed and can not be seen is waited for some minutes, then the job fails and names it", async () => {
  using w = await finished();
  const manifest = `1 5.5 gone\0${sha256("a")}  ./gone\0`;
  writeFileSync(join(w.dir, ".emx2/manifest.a1.0"), manifest);
  expect((await sealed(w, 9, sha256(manifest))).is).toBe("retry");
  expect(await sealed(w, 10, sha256(manifest))).toMatchObject({
    is: "refused",
    cause: expect.stringContaining('"gone"'),
  });
});

test.each([
  ["longer, written to later", "longer", 1_700_000_001, "changed"],
  ["shorter, written to later", "", 1_700_000_001, "changed"],
  ["longer, at the very time", "longer", 1_700_000_000, "changed"],
  ["shorter, at the very time", "", 1_700_000_000, "late"],
  ["older", "short", 1_699_999_999, "late"],
  ["older and longer: the job has cut it short", "longer", 1_699_999_999, "late"],
])("a sealed output that is %s: only what may be an older state of it is waited for", async (_, now, mtime, is) => {
  using w = await finished();
  const path = join(w.dir, "output/result");
  const manifest = `5 1700000000.0 result\0${sha256("a")}  ./result\0`;
  writeFileSync(join(w.dir, ".emx2/manifest.a1.0"), manifest);
  writeFileSync(path, now);
  utimesSync(path, mtime, mtime);
  const found = await sealed(w, 0, sha256(manifest)).catch((error) => error);
  if (is === "late") expect(found).toMatchObject({ is: "retry", cause: expect.stringContaining('"result"') });
  else expect(found).toMatchObject({ permanent: true, message: expect.stringContaining('"result"') });
});

test.each([
  ["a link", (path: string) => symlinkSync("b", path)],
  ["a directory", (path: string) => mkdirSync(path)],
  ["a FIFO", (path: string) => void Bun.spawnSync(["mkfifo", path])],
])("what was sealed as a file and is %s now is not waited for", async (_what, put) => {
  using w = await finished();
  put(join(w.dir, "output/a"));
  const manifest = `1 5.5 a\0${sha256("a")}  ./a\0`;
  writeFileSync(join(w.dir, ".emx2/manifest.a1.0"), manifest);
  await expect(sealed(w, 0, sha256(manifest))).rejects.toMatchObject({ name: "StorageError", permanent: true });
});

test("a manifest that is no file is not waited for", async () => {
  using w = await finished();
  mkdirSync(join(w.dir, ".emx2/manifest.a1.0"));
  await expect(sealed(w, 0, sha256("a"))).rejects.toMatchObject({ name: "StorageError", permanent: true });
});

test("what somebody goes on writing to is waited for half an hour, then the job fails and names it", async () => {
  using w = await finished();
  const path = join(w.dir, "output/growing");
  writeFileSync(path, "");
  truncateSync(path, 64 * 1024 * 1024);
  const writer = setInterval(() => appendFileSync(path, "x"), 1);
  try {
    expect(await sealed(w, 34).catch(({ code }: { code: string }) => code)).toBe("EBUSY");
    expect(await sealed(w, 35)).toMatchObject({ is: "refused", cause: expect.stringContaining("growing") });
  } finally {
    clearInterval(writer);
  }
});

test("a log that somebody goes on writing to is waited for some times, then taken as far as it is written", async () => {
  using w = await finished();
  const path = join(w.dir, "output/growing.log");
  writeFileSync(path, "");
  truncateSync(path, 16 * 1024 * 1024);
  const writer = setInterval(() => appendFileSync(path, "x"), 1);
  try {
    const waiting = await sealedLogs(w, 3);
    expect(waiting.result).toMatchObject({ is: "retry", cause: expect.stringContaining("growing.log") });
    const { result, lines } = await sealedLogs(w, 4);
    expect(result).toMatchObject({ is: "ok", value: { total: 1 } });
    expect(lines.join("")).toMatch(/ warn .*logs are taken as far as they are written.*growing\.log/);
  } finally {
    clearInterval(writer);
  }
});

test("nobody goes on reading what is no longer wanted", async () => {
  using w = await finished();
  writeFileSync(join(w.dir, "output/huge"), "");
  truncateSync(join(w.dir, "output/huge"), 2 ** 40);
  const stop = new AbortController();
  const sealing = sealed(w, 0, undefined, stop.signal);
  stop.abort();
  await expect(sealing).rejects.toMatchObject({ name: "AbortError" });
});

test("a log that can not be taken is told of at EMX2, and keeps nothing else from it", async () => {
  using w = await finished();
  const far = Array.from({ length: 5 }, () => "d".repeat(250)).join("/");
  mkdirSync(join(w.dir, "output", far), { recursive: true });
  writeFileSync(join(w.dir, "output", far, "far.log"), "x");
  writeFileSync(join(w.dir, "output/near.log"), "near");
  const { result, ended, outcome } = await sealedLogs(w, 0);
  if (result.is !== "ok") return expect.unreachable(result.cause);
  expect([result.value.total, result.value.leftOut?.count]).toEqual([1, 1]);
  const job = fold(ended, { kind: "Ended", at: startAt, effect: logs, result });
  expect(job && reportDetail(job, outcome, [])).toMatch(/; 1 left out of the logs: .*longer than 1024/);
});
