import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import fc from "fast-check";
import { createLog, escapeText, type Fields, type LogOptions, wantsColor } from "../../src/log.ts";

const jobId = "0a1b2c3d-1111-2222-3333-444455556666";
const at = Date.UTC(2026, 4, 17, 9, 8, 7, 65);

function capture(options: Partial<LogOptions> = {}) {
  const lines: string[] = [];
  const write = (line: string) => lines.push(line);
  const log = createLog({ json: false, level: "info", color: false, write, clock: { wall: () => at }, ...options });
  return { log, lines };
}

class Sealed {
  readonly value = "hunter2";
  toString() {
    return "[secret]";
  }
  toJSON() {
    return "[secret]";
  }
}

/** Whatever a terminal could act on, but for our own newline at the end. */
const drivesTerminal = /[\p{Cc}\p{Cs}\u061c\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/u;

describe("a line", () => {
  test("in a pipe carries date, level, the whole job id, the message and its fields", () => {
    const { log, lines } = capture();
    log
      .child({ jobId })
      .warn("can not reach squeue", { attempts: 3, cause: "timed out", node: null, reason: undefined });
    expect(lines).toEqual([
      `2026-05-17T09:08:07.065Z warn  jobId=${jobId} can not reach squeue attempts=3 cause="timed out" node=null\n`,
    ]);
  });

  test("on a terminal carries the time, a colour for the level and 8 characters of the job id", () => {
    const { log, lines } = capture({ color: true });
    log.error("no", { jobId, a: 1 });
    const [line = ""] = lines;
    expect(line).toContain("\x1b[31merror\x1b[0m");
    expect(Bun.stripANSI(line)).toMatch(/^\d\d:08:07 error 0a1b2c3d no a=1\n$/);
  });

  test("on a terminal that wants no colours is as short, without them", () => {
    const { log, lines } = capture({ short: true });
    log.warn("no", { jobId, a: 1 });
    expect(lines[0]).toMatch(/^\d\d:08:07 warn {2}0a1b2c3d no a=1\n$/);
  });

  test("as JSON is one object, in which no field takes the place of time, level or message", () => {
    const { log, lines } = capture({ json: true });
    log
      .child({ jobId })
      .info("done", { level: "error", time: "never", message: "forged", count: 2, ok: true, none: null });
    expect(lines).toHaveLength(1);
    const head = { time: "2026-05-17T09:08:07.065Z", level: "info", message: "done" };
    expect(JSON.parse(lines[0] ?? "")).toEqual({ ...head, jobId, count: 2, ok: true, none: null });
  });

  test("is written for its level and those above", () => {
    for (const [level, count] of [
      ["error", 1],
      ["warn", 2],
      ["info", 3],
      ["debug", 4],
    ] as const) {
      const { log, lines } = capture({ level });
      for (const word of ["error", "warn", "info", "debug"] as const) log[word](word);
      expect(lines).toHaveLength(count);
    }
  });

  test("is written each time, even where it repeats", () => {
    const { log, lines } = capture();
    for (let count = 0; count < 20; count += 1) log.warn("again");
    expect(lines).toHaveLength(20);
  });

  test("of a child adds its fields to those of its parent, the nearer one winning", () => {
    const { log, lines } = capture({ json: true });
    log.child({ a: 1, b: 1, c: 1 }).child({ b: 2, c: 2 }).info("x", { c: 3 });
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({ a: 1, b: 2, c: 3 });
  });
});

describe("words of strangers", () => {
  const hostile = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.string({
      unit: fc.constantFrom("\n", "\x1b[2J", "\x9b", "\u202e", "\r", "\u2028", "\ud800", "=", '"', " ", "a"),
    }),
  );

  test("never reach the output as anything that drives a terminal or starts another line", () => {
    fc.assert(
      fc.property(hostile, hostile, hostile, fc.boolean(), (message, key, value, json) => {
        const { log, lines } = capture({ json });
        log.info(message, { [key]: value, jobId: value });
        expect(lines).toHaveLength(1);
        expect(lines[0]?.slice(0, -1)).not.toMatch(drivesTerminal);
        expect(lines[0]?.endsWith("\n")).toBe(true);
      }),
    );
  });

  test("can not forge a colour on a terminal", () => {
    fc.assert(
      fc.property(hostile, (value) => {
        const { log, lines } = capture({ color: true });
        log.info(value, { value });
        expect(Bun.stripANSI(lines[0] ?? "").slice(0, -1)).not.toMatch(drivesTerminal);
      }),
    );
  });

  test("survive JSON unchanged", () => {
    fc.assert(
      fc.property(hostile, (value) => {
        const { log, lines } = capture({ json: true });
        log.info("x", { value });
        expect(JSON.parse(lines[0] ?? "").value).toBe(value);
      }),
    );
  });

  test("can not pass for another field", () => {
    const { log, lines } = capture();
    log.info("x", { node: 'a level="error" jobId=b' });
    expect(lines[0]).toEndWith('x node="a level=\\"error\\" jobId=b"\n');
  });

  test("are cut where they go on for ever", () => {
    for (const json of [true, false]) {
      const { log, lines } = capture({ json });
      log.info("x".repeat(1e6), { value: "y".repeat(1e6) });
      expect(lines[0]?.length).toBeLessThan(9_000);
      expect(lines[0]).toContain("… (996000 characters more)");
    }
  });

  test("are spelt out one by one, and what people write stays", () => {
    const cases = [
      ["a\nb\tc\r", "a\\nb\\tc\\x0d"],
      ["\x1b[31mred\x07\x7f\x9b", "\\x1b[31mred\\x07\\x7f\\x9b"],
      ["\u202egpj.exe\u2066\u061c", "\\u202egpj.exe\\u2066\\u061c"],
      ["\u2028\ufeff\u200b\u{e0041}", "\\u2028\\ufeff\\u200b\\u{e0041}"],
      ["\ud83d", "\\ud83d"],
      ["Zoë 数据 👩‍🔬 C:\\dir می‌خواهم", "Zoë 数据 👩‍🔬 C:\\dir می‌خواهم"],
    ] as const;
    for (const [text, escaped] of cases) expect(escapeText(text)).toBe(escaped);
  });
});

test("a secret that strays into a line prints as [secret]", () => {
  for (const options of [{ json: true }, { json: false }, { color: true }]) {
    const { log, lines } = capture(options);
    const fields: Record<string, unknown> = { secret: new Sealed() };
    log.info(`signed with ${new Sealed()}`, fields as Fields);
    expect(lines[0]).toContain("signed with [secret]");
    expect(lines[0]?.match(/\[secret\]/g)).toHaveLength(2);
    expect(lines[0]).not.toContain("hunter2");
  }
});

test("colours are for terminals that want them", () => {
  expect(wantsColor({ isTTY: true }, {})).toBe(true);
  expect(wantsColor({ isTTY: true }, { NO_COLOR: "" })).toBe(true);
  expect(wantsColor({ isTTY: true }, { NO_COLOR: "1" })).toBe(false);
  expect(wantsColor({ isTTY: true }, { TERM: "dumb" })).toBe(false);
  expect(wantsColor({}, {})).toBe(false);
});

describe("writing to stderr", () => {
  const program = `
    const { writeToStderr } = await import(${JSON.stringify(join(import.meta.dir, "../../src/log.ts"))});
    for (let line = 0; line < 5_000; line += 1) writeToStderr("line " + line + " " + "x".repeat(100) + "\\n");
    process.exit(7);`;

  test("loses nothing in a pipe at an exit", async () => {
    const child = Bun.spawn([process.execPath, "-e", program], { stderr: "pipe" });
    const lines = (await new Response(child.stderr).text()).trimEnd().split("\n");
    expect(await child.exited).toBe(7);
    expect(lines).toHaveLength(5_000);
    expect(lines.at(-1)).toStartWith("line 4999 x");
  });

  test("to a reader that is gone costs the lines and not the program", async () => {
    const script = `exec 3>&1; { "$0" -e "$1"; echo "exit $?" >&3; } 2>&1 >/dev/null | true`;
    const child = Bun.spawn(["sh", "-c", script, process.execPath, program]);
    expect((await new Response(child.stdout).text()).trim()).toBe("exit 7");
  });
});
