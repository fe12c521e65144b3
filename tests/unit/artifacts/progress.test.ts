/** What is read of a workload's progress files, in a real directory. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { withDirectory } from "../../../src/artifacts/no-follow.ts";
import { readProgress } from "../../../src/artifacts/progress.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "emx2-progress-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const read = () => withDirectory(dir, [], readProgress);
const lines = () => join(dir, ".hpc_progress.jsonl");
const whole = () => join(dir, ".hpc_progress.json");

describe("a progress file", () => {
  test("that is not there says nothing", async () => {
    expect(await read()).toBeNull();
  });

  test("of lines says what its last whole line says", async () => {
    writeFileSync(lines(), '{"phase":"a","progress":0.1}\n{"phase":"b","message":"m","progress":0.2}\n{"phase":"c"');
    expect(await read()).toEqual({ phase: "b", message: "m", fraction: 0.2 });
    appendFileSync(lines(), ',"progress":0.3}\n');
    expect(await read()).toEqual({ phase: "c", fraction: 0.3 });
  });

  test("of lines passes over what is no object of progress", async () => {
    writeFileSync(lines(), '{"progress":0.4}\n\n[1]\nnull\n"x"\n{"other":1}\nrubbish\n');
    appendFileSync(lines(), Buffer.from([0xff, 0xfe, 0x00, 0x0a]));
    expect(await read()).toEqual({ fraction: 0.4 });
  });

  test("of lines is read from its end alone, and nothing in it is nested too deep to be passed over", async () => {
    writeFileSync(lines(), `{"progress":0.5}\n{"a":${"[".repeat(60_000)}\n`);
    expect(await read()).toEqual({ fraction: 0.5 });
    writeFileSync(lines(), `{"message":"${"x".repeat(70_000)}"}\n{"phase":"late"}\n`);
    expect(await read()).toEqual({ phase: "late" });
    writeFileSync(lines(), `{"message":"${"x".repeat(70_000)}"}\n`);
    expect(await read()).toBeNull();
  });

  test("of one object is read whole, and the newer of two counts", async () => {
    writeFileSync(whole(), '{"phase":"old way","progress":1e0}');
    expect(await read()).toEqual({ phase: "old way", fraction: 1 });
    writeFileSync(lines(), '{"phase":"new way"}\n');
    utimesSync(whole(), 1_000, 1_000);
    expect(await read()).toEqual({ phase: "new way" });
    utimesSync(lines(), 500, 500);
    expect(await read()).toEqual({ phase: "old way", fraction: 1 });
  });

  test.each([
    ["below 0", -1, 0],
    ["above 1", 7, 1],
  ])("with progress %s is clamped", async (_, said, fraction) => {
    writeFileSync(lines(), `${JSON.stringify({ progress: said })}\n`);
    expect(await read()).toEqual({ fraction });
  });

  test("with long or unprintable words is cut to EMX2's bounds, never through a character", async () => {
    const message = `a\u001b[31m\nb\u202e${"x".repeat(492)}😀`;
    writeFileSync(lines(), `${JSON.stringify({ phase: "p".repeat(101), message, progress: "1" })}\n`);
    const said = await read();
    expect(said?.phase).toBe("p".repeat(100));
    expect(said?.message).toStartWith("a [31m b x");
    expect(said?.message?.isWellFormed()).toBe(true);
    expect(said?.message?.length).toBeLessThanOrEqual(500);
    expect(said?.fraction).toBeUndefined();
  });

  test("of a gigabyte costs no more than its end, and a line longer than that says nothing", async () => {
    writeFileSync(lines(), `{"message":"${"x".repeat(70_000)}"}\n`);
    expect(await read()).toBeNull();
    appendFileSync(lines(), '{"progress":0.5}\n');
    expect(await read()).toEqual({ fraction: 0.5 });
  });

  test("that is a link or a directory is not looked at", async () => {
    writeFileSync(join(dir, "secret.jsonl"), '{"phase":"leaked"}\n');
    symlinkSync("secret.jsonl", lines());
    mkdirSync(whole());
    expect(await read()).toBeNull();
  });

  test("of any bytes never throws", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), fc.json(), async (bytes, json) => {
        writeFileSync(lines(), Buffer.concat([bytes, Buffer.from(`\n${json}\n`)]));
        const said = await read();
        if (said?.fraction !== undefined) expect(said.fraction >= 0 && said.fraction <= 1).toBe(true);
      }),
      { numRuns: 200 },
    );
  });
});
