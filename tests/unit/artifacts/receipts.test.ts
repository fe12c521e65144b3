import { describe, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { maxReceiptBytes, readReceipts } from "../../../src/artifacts/receipts.ts";
import type { RunRef } from "../../../src/job/run.ts";
import { faultOf, jobId, ownerOf, workDirectory } from "./work-directory.ts";

const head = (restart = 0, job = "77") => ({ v: 1, attempt: "a1", job, restart, node: "node1" });
const exit = {
  start: 100,
  end: 160,
  how: "exit",
  exit: 7,
  signal: "TERM",
  signal_at: 150,
  oom_kill: null,
};

/** `.emx2/` as names with what is in them; `->` begins a link. */
function look(entries: Record<string, string | object>, attempt = "a1") {
  const texts = new Map(Object.entries(entries).map(([name, is]) => [name, textOf(is)]));
  const warnings: string[] = [];
  const view = {
    names: [...texts.keys()],
    link: async (name: string) => {
      const found = texts.get(name);
      return found?.startsWith("->") ? found.slice(2) : null;
    },
    file: async (name: string) => ({ text: texts.get(name) ?? "" }),
  };
  return readReceipts(attempt, view, (message) => warnings.push(message)).then((receipts) => ({ receipts, warnings }));
}

function textOf(is: string | object): string {
  return typeof is === "string" ? is : JSON.stringify(is);
}

const leased = { "lease.a1": "->77", "lease.a1.0": "->77.0.node1.1" };

describe("receipts", () => {
  test("of a run that ended, with all its parts", async () => {
    const { receipts, warnings } = await look({
      ...leased,
      "start.a1.0": { ...head(), pid: 1, start: 100 },
      "stop.a1.0": { ...head(), start: 100, signal: "TERM", at: 150 },
      "exit.a1.0": { ...head(), ...exit },
      "done.a1.0": { ...head(), exit: 7, manifest_sha256: "ab".repeat(32), sealed: 170 },
      "lost.a1.78.0": { ...head(0, "78"), holder: "77", at: 100 },
      "lost.a1.79.0": "",
    });
    expect(receipts).toEqual({
      directory: true,
      lease: "77",
      restart: 0,
      start: { node: "node1", at: 100 },
      stop: { signal: "TERM", at: 150 },
      exit: { exit: 7, how: "exit", signal: "TERM", oomKill: null, node: "node1", start: 100, end: 160 },
      done: { exit: 7, manifestSha256: "ab".repeat(32) },
      lost: ["78", "79"],
    });
    expect(warnings).toEqual([]);
  });

  test("of the newest run, however many there were, by number and not by letter", async () => {
    const { receipts } = await look({
      ...leased,
      "lease.a1.10": "->77.10.node1.1",
      "lease.a1.9": "->77.9.node1.1",
      "exit.a1.9": { ...head(9), ...exit },
      "start.a1.10": { ...head(10), start: 300 },
    });
    expect(receipts).toMatchObject({ restart: 10, start: { at: 300 } });
    expect(receipts.exit).toBeUndefined();
  });

  test("of another attempt are none of ours", async () => {
    const { receipts } = await look({ ...leased, "exit.a1.0": { ...head(), ...exit }, "lost.a10.5.0": "" }, "a10");
    expect(receipts).toEqual({ directory: true, restart: 0, lost: ["5"] });
  });

  test("without a lease count for nothing, and a closed lease is nobody's", async () => {
    const receipt = { "exit.a1.0": { ...head(), ...exit } };
    expect((await look(receipt)).receipts).toEqual({ directory: true, restart: 0, lost: [] });
    const closed = await look({ ...receipt, "lease.a1": "->closed" });
    expect(closed).toEqual({ receipts: { directory: true, restart: 0, lost: [] }, warnings: [] });
  });

  test.each([
    ["half of it", JSON.stringify({ ...head(), ...exit }).slice(0, 60), "does not hold what a receipt holds"],
    ["nothing", "", "does not hold what a receipt holds"],
    ["another format", { ...head(), ...exit, v: 2 }, "does not hold what a receipt holds"],
    ["an exit code that none is", { ...head(), ...exit, exit: 4096 }, "does not hold what a receipt holds"],
    ["a signal that none is", { ...head(), ...exit, signal: "\u001b[2J" }, "does not hold what a receipt holds"],
    ["an array", [], "does not hold what a receipt holds"],
    ["another job's id", { ...head(0, "78"), ...exit }, "is about another run"],
    ["another restart count", { ...head(1), ...exit }, "is about another run"],
    ["another attempt", { ...head(), ...exit, attempt: "a2" }, "is about another run"],
  ])("a receipt that holds %s does not exist yet, and is warned about", async (_what, content, why) => {
    const { receipts, warnings } = await look({ ...leased, "exit.a1.0": content });
    expect(receipts).toEqual({ directory: true, lease: "77", restart: 0, lost: [] });
    expect(warnings).toEqual([expect.stringContaining(`exit.a1.0 is left aside: it ${why}`)]);
  });

  test("a lease that names no id is none", async () => {
    const { receipts, warnings } = await look({ "lease.a1": "->../../etc/passwd" });
    expect(receipts.lease).toBeUndefined();
    expect(warnings).toEqual(["lease.a1 names no scheduler id"]);
  });

  test("whatever a hostile job writes there, reading ends, and with plain values", async () => {
    const name = fc.constantFrom("lease.a1", "lease.a1.0", "lease.a1.1", "start.a1.0", "exit.a1.1", "lost.a1.x.0");
    const content = fc.oneof(
      fc.string(),
      fc.jsonValue().map((value) => JSON.stringify(value) ?? ""),
      fc.constant("->77"),
    );
    await fc.assert(
      fc.asyncProperty(fc.dictionary(name, content), async (entries) => {
        const { receipts } = await look(entries);
        expect(receipts.directory).toBe(true);
        expect(Number.isSafeInteger(receipts.restart)).toBe(true);
        if (receipts.lease !== undefined) expect(receipts.lease).toMatch(/^[\w-]{1,64}$/);
      }),
    );
  });
});

describe("receipts on disk", () => {
  const runIn = (dir: string): RunRef => ({ jobId, attempt: "a1", name: `emx2-${jobId}`, dir, notBefore: 0 });

  test("links, FIFOs, directories and huge files in the place of a receipt are no receipts, and nothing hangs", async () => {
    using w = workDirectory();
    await w.files.create(w.dir, ownerOf());
    const control = join(w.dir, ".emx2");
    symlinkSync("77", join(control, "lease.a1"));
    symlinkSync("/etc/hostname", join(control, "start.a1.0"));
    execFileSync("mkfifo", [join(control, "stop.a1.0")]);
    mkdirSync(join(control, "done.a1.0"));
    writeFileSync(join(control, "exit.a1.0"), JSON.stringify({ ...head(), ...exit }));
    truncateSync(join(control, "exit.a1.0"), maxReceiptBytes + 1);
    expect(await w.files.receipts(runIn(w.dir))).toEqual({ directory: true, lease: "77", restart: 0, lost: [] });
    expect(w.warnings.map((warning) => warning.slice(0, 9)).sort()).toEqual([
      "done.a1.0",
      "exit.a1.0",
      "start.a1.",
      "stop.a1.0",
    ]);
  });

  test("what is wrong is said once, not at every look", async () => {
    using w = workDirectory();
    await w.files.create(w.dir, ownerOf());
    symlinkSync("77", join(w.dir, ".emx2/lease.a1"));
    writeFileSync(join(w.dir, ".emx2/exit.a1.0"), "{");
    await w.files.receipts(runIn(w.dir));
    await w.files.receipts(runIn(w.dir));
    expect(w.warnings).toHaveLength(1);
  });

  test("a file system that is not there is a fault, and not an absent directory", async () => {
    using w = workDirectory();
    const fault = await faultOf(w.files.receipts(runIn(join(w.root, "not-mounted", jobId))));
    expect(fault).toMatchObject({ name: "StorageError", code: "ENOENT", permanent: false });
  });

  test("something else in the place of a directory of ours is no directory any more, and no receipt is believed", async () => {
    using w = workDirectory();
    writeFileSync(w.dir, "");
    expect(await w.files.receipts(runIn(w.dir))).toEqual({ directory: false, restart: 0, lost: [] });
    rmSync(w.dir);
    mkdirSync(join(w.root, "elsewhere/.emx2"), { recursive: true });
    symlinkSync("7", join(w.root, "elsewhere/.emx2/lease.a1"));
    symlinkSync(join(w.root, "elsewhere"), w.dir);
    expect(await w.files.receipts(runIn(w.dir))).toEqual({ directory: false, restart: 0, lost: [] });
    expect(await faultOf(w.files.closeLease(runIn(w.dir)))).toMatchObject({ permanent: true });
  });
});
