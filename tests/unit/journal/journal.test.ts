import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { FileRow, JobEvent } from "../../../src/job/effect.ts";
import { openJournal } from "../../../src/journal/journal.ts";
import { begun, filePut, jobOf, manualClock, outputRow, refOf } from "./records.ts";

const submit = { kind: "Submit", ref: refOf("job-1") } as const;
const create = { kind: "CreateArtifact", role: "log" } as const;

function inMemory() {
  const clock = manualClock();
  return { clock, journal: openJournal(":memory:", { clock }) };
}

function temporaryJournal() {
  const dir = mkdtempSync(join(tmpdir(), "emx2-journal-"));
  return {
    open: () => openJournal(join(dir, "journal.db"), { clock: manualClock() }),
    [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }),
  };
}

/** The journal that a restart after SIGKILL would find: what is committed, and nothing that waited. */
function afterKill(journal: { serialize(): Uint8Array }) {
  return openJournal(journal.serialize(), { clock: manualClock() });
}

describe("what was recorded", () => {
  test("a job comes back as it was after its last event, and jobs in the order in which they came", () => {
    const { journal } = inMemory();
    journal.record(filePut("job-b", 1), "durable");
    journal.record(filePut("job-a", 2), "durable");
    journal.record(filePut("job-b", 3), "durable");
    expect(journal.load().jobs).toEqual([jobOf("job-b", 3), jobOf("job-a", 2)]);
  });

  test("the events of a job come back in order and whole", () => {
    const { journal } = inMemory();
    const records = [filePut("job-1", 5), begun("job-1", "e1", submit), filePut("job-1", 4)];
    for (const record of records) journal.record(record, "lossy");
    journal.record(filePut("job-2", 9), "lossy");
    expect(journal.history("job-1")).toEqual(records.map(({ event }) => ({ at: event.at, event })));
  });

  test("a state keeps its UUID", () => {
    const { journal } = inMemory();
    expect(journal.stateId).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    expect(afterKill(journal).stateId).toBe(journal.stateId);
    expect(inMemory().journal.stateId).not.toBe(journal.stateId);
  });
});

describe("effects", () => {
  test("one that was begun and never ended is in doubt after a restart, one that ended is not", () => {
    const { journal } = inMemory();
    journal.record(begun("job-1", "e1", submit), "durable");
    journal.record(begun("job-1", "e2", create), "durable");
    const result = { is: "ok", value: { artifactId: "art-1" } } as const;
    const event: JobEvent = { kind: "Ended", at: 2, effect: create, result };
    journal.record({ event, job: jobOf("job-1"), end: { effectId: "e2", result } }, "durable");
    expect(afterKill(journal).load().inDoubt).toEqual([{ jobId: "job-1", effectId: "e1", effect: submit }]);
  });

  test("an end without a beginning is refused, and nothing of its record stays", () => {
    const { journal } = inMemory();
    const end = { effectId: "never", result: { is: "retry", cause: "x" } } as const;
    expect(() => journal.record({ ...filePut("job-1", 1), end }, "durable")).toThrow("without having begun");
    expect(journal.load()).toEqual({ jobs: [], inDoubt: [] });
    expect(journal.history("job-1")).toEqual([]);
  });
});

describe("durability", () => {
  test("a durable record is committed when the call returns", () => {
    const { journal } = inMemory();
    journal.record(filePut("job-1", 1), "durable");
    expect(afterKill(journal).load().jobs).toEqual([jobOf("job-1", 1)]);
  });

  test("lossy records wait a second for company, and then share one transaction", () => {
    const { journal, clock } = inMemory();
    journal.record(filePut("job-1", 1), "lossy");
    clock.advance(600);
    journal.record(filePut("job-1", 2), "lossy");
    clock.advance(399);
    expect(afterKill(journal).load().jobs).toEqual([]);
    clock.advance(1);
    expect(afterKill(journal).load().jobs).toEqual([jobOf("job-1", 2)]);
    expect(clock.timers).toBe(0);
  });

  test("no more than 100 lossy records wait", () => {
    const { journal } = inMemory();
    for (let at = 0; at < 1_001; at += 1) journal.record(filePut("job-1", at), "lossy");
    expect(afterKill(journal).history("job-1")).toHaveLength(1_000);
  });

  test("a durable record takes the waiting ones along, before itself, in one transaction", () => {
    const { journal, clock } = inMemory();
    journal.record(filePut("job-1", 1), "lossy");
    journal.record(filePut("job-2", 2), "lossy");
    journal.record(filePut("job-1", 3), "durable");
    const restarted = afterKill(journal);
    expect(restarted.history("job-1").map(({ at }) => at)).toEqual([1, 3]);
    expect(restarted.load().jobs).toEqual([jobOf("job-1", 3), jobOf("job-2", 2)]);
    expect(clock.timers).toBe(0);
  });

  test("closing writes what waits", () => {
    using place = temporaryJournal();
    const journal = place.open();
    journal.record(filePut("job-1", 1), "lossy");
    journal.close();
    const again = place.open();
    expect(again.load().jobs).toEqual([jobOf("job-1", 1)]);
    again.close();
  });

  test("closing lets go of the file even where what waits can not be written, and says so", () => {
    using place = temporaryJournal();
    const journal = place.open();
    journal.record(filePut("job-1", 1), "durable");
    const end = { effectId: "never", result: { is: "retry", cause: "x" } } as const;
    journal.record({ ...filePut("job-1", 2), end }, "lossy");
    expect(() => journal.close()).toThrow("without having begun");
    const again = place.open();
    expect(again.load().jobs).toEqual([jobOf("job-1", 1)]);
    again.close();
  });
});

describe("file rows", () => {
  const rows: FileRow[] = [
    { role: "input", index: 0, directory: "input/a", path: "x", bytes: Number.MAX_SAFE_INTEGER, artifactId: "a" },
    {
      role: "input",
      index: 1,
      directory: "input/a",
      path: "é/\u{1f9ec}",
      diskPath: "y",
      bytes: 0,
      sha256: "0".repeat(64),
    },
    { role: "log", index: 0, directory: ".emx2", path: "l", bytes: 7, mtimeMs: 1_700_000_000_123.456 },
  ];

  test("come back as they went in, in parts and all together, even while their record waits", () => {
    const { journal } = inMemory();
    journal.record({ ...filePut("job-1", 1), files: rows }, "lossy");
    expect(journal.files("job-1", "input", 1, 9)).toEqual(rows.slice(1, 2));
    expect(journal.files("job-1", "input", 0, 1)).toEqual(rows.slice(0, 1));
    expect(journal.files("job-1", "input", 0, 9)).toEqual(rows.slice(0, 2));
    expect(journal.files("job-1", "log", 0, 9)).toEqual(rows.slice(2));
    expect(journal.files("job-1", "input", 2, 9)).toEqual([]);
    expect(journal.files("job-2", "input", 0, 9)).toEqual([]);
  });

  test("replace the job's rows of the same role and no others", () => {
    const { journal } = inMemory();
    journal.record({ ...filePut("job-1", 1), files: rows }, "durable");
    journal.record({ ...filePut("job-2", 1), files: rows }, "durable");
    const listedAgain: FileRow = { role: "input", index: 0, directory: "input/b", path: "z", bytes: 1 };
    journal.record({ ...filePut("job-1", 2), files: [listedAgain] }, "durable");
    expect(journal.files("job-1", "input", 0, 9)).toEqual([listedAgain]);
    expect(journal.files("job-1", "log", 0, 9)).toEqual(rows.slice(2));
    expect(journal.files("job-2", "input", 0, 9)).toEqual(rows.slice(0, 2));
  });
});

describe("forgetting", () => {
  test("a job leaves with its effects and files, its events stay until they are pruned", () => {
    const { journal } = inMemory();
    journal.record(begun("job-1", "e1", submit), "durable");
    journal.record({ ...filePut("job-1", 5), files: [outputRow(0)] }, "lossy");
    journal.record(filePut("job-2", 6), "lossy");
    journal.forget("job-1");
    expect(journal.load()).toEqual({ jobs: [jobOf("job-2", 6)], inDoubt: [] });
    expect(journal.files("job-1", "output", 0, 9)).toEqual([]);
    expect(journal.history("job-1").map(({ at }) => at)).toEqual([1, 5]);
    journal.prune(6, 0);
    expect(journal.history("job-1")).toEqual([]);
    expect(journal.history("job-2").map(({ at }) => at)).toEqual([6]);
  });
});

describe("what strangers wrote", () => {
  test("parameters stay out of the history and of results", () => {
    const { journal } = inMemory();
    const claim = { kind: "ClaimJob" } as const;
    const job = {
      id: "job-1",
      processor: "p",
      profile: null,
      status: "CLAIMED",
      workerId: null,
      submitUser: null,
      inputs: [],
      timeoutSeconds: null,
      parametersText: '{"patient": "P-4711"}',
    } as const;
    const result = { is: "ok", value: { job } } as const;
    journal.record(begun("job-1", "e1", claim), "durable");
    const event: JobEvent = { kind: "Ended", at: 2, effect: claim, result };
    journal.record({ event, job: jobOf("job-1"), end: { effectId: "e1", result } }, "durable");
    expect(Buffer.from(journal.serialize()).includes("P-4711")).toBe(false);
    expect(JSON.stringify(journal.history("job-1"))).toContain('"processor":"p"');
  });

  test("an event with a stderr of megabytes is kept in part", () => {
    const { journal } = inMemory();
    const stderrTail = Array.from({ length: 5_000 }, () => "x".repeat(1_000));
    const effect = { kind: "CloseRun", ref: refOf("job-1"), outcome: { ...failed } } as const;
    const event: JobEvent = { kind: "Ended", at: 1, effect, result: { is: "ok", value: { stderrTail } } };
    journal.record({ event, job: jobOf("job-1") }, "durable");
    journal.record(
      { ...filePut("job-1", 2), event: { ...refused, result: { is: "refused", cause: "y".repeat(1e6) } } },
      "durable",
    );
    const kept = journal.history("job-1").map((entry) => JSON.stringify(entry.event).length);
    expect(kept[0]).toBeLessThan(300_000);
    expect(kept[1]).toBeLessThan(5_000);
  });

  const failed = { result: "failed", proof: "receipt", state: "FAILED", outputDir: "output" } as const;
  const refused = { kind: "Ended", at: 2, effect: { kind: "ReadJob" } } as const;
});
