import { afterAll, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { chownSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import { effectiveYaml } from "../../../src/config/effective.ts";
import { loadWhole } from "../../../src/config/load.ts";
import { openness, readSecret, Secret } from "../../../src/config/secret.ts";
import { formatProblem } from "../../../src/errors.ts";
import { configText, problemsIn, sandbox } from "./config-file.ts";

const box = sandbox();
afterAll(() => box.remove());

const fromFile = (path: string) => readSecret({ kind: "file", path });
const refusalOf = (path: string) =>
  problemsIn(() => fromFile(path))
    .map(formatProblem)
    .join("\n");

describe("a secret's file", () => {
  test.each([["s3cret"], ["s3cret\n"], ["s3cret\r\n"]])("%j gives the secret without its newline", (content) => {
    expect(fromFile(box.write("secret", content)).reveal()).toBe("s3cret");
    expect(fromFile(box.write("secret-read-only", content, 0o400)).reveal()).toBe("s3cret");
  });

  test.each([
    ["", "is empty"],
    ["\n", "is empty"],
    ["  \n", "is empty"],
    ["a\nb\n", "more than one line"],
    ["a\0b", "control characters"],
    ["x".repeat(20_000), "larger than 16384 bytes"],
  ])("with %.10j in it is refused", (content, message) => {
    expect(refusalOf(box.write("bad", content))).toContain(message);
  });

  test.each([0o640, 0o620, 0o660, 0o604, 0o602, 0o644, 0o610])("with mode %o is refused, naming the chmod", (mode) => {
    const path = box.write("open", "s3cret", mode);
    if (process.getuid?.() === 0) chownSync(path, 12345, 12345);
    expect(refusalOf(path)).toContain(`(chmod 600 ${path})`);
  });

  test("the chmod can be pasted whatever the path is", () => {
    const path = box.write("it's here/a b", "s3cret", 0o644);
    const [problem] = problemsIn(() => fromFile(path));
    expect(spawnSync("sh", ["-c", problem?.hint ?? "false"]).status).toBe(0);
    expect(fromFile(path).reveal()).toBe("s3cret");
  });

  test("root's may be read by a group, with a warning, and by nobody else", () => {
    const kinds = [0o600, 0o640, 0o660, 0o620, 0o644, 0o604].map((mode) => openness("/s", { uid: 0, mode }));
    expect(kinds.map(({ is }) => is)).toEqual(["safe", "tolerated", "refused", "refused", "refused", "refused"]);
    expect(openness("/s", { uid: 1000, mode: 0o640 }).is).toBe("refused");
    expect(kinds[1]?.fault && formatProblem(kinds[1].fault)).toContain("chmod 600 /s");
  });

  test("must be there, and be a file", () => {
    expect(refusalOf(join(box.directory, "none"))).toContain("does not exist");
    expect(refusalOf(box.directory)).toContain("is not a regular file");
    const fifo = join(box.directory, "fifo");
    expect(spawnSync("mkfifo", ["-m", "600", fifo]).status).toBe(0);
    expect(refusalOf(fifo)).toContain("is not a regular file");
  });
});

describe("a secret", () => {
  test("prints as [secret] wherever it strays", () => {
    const secret = new Secret("hunter2");
    const prints = [
      `${secret}`,
      JSON.stringify({ secret }),
      inspect({ secret }),
      Bun.inspect({ secret }),
      String(secret),
    ];
    for (const text of [
      ...prints,
      inspect({ secret }, { showHidden: true, depth: 9 }),
      JSON.stringify(Object.entries(secret)),
    ]) {
      expect(text).not.toContain("hunter2");
    }
    expect(prints.every((text) => text.includes("[secret]"))).toBe(true);
    expect(secret.reveal()).toBe("hunter2");
  });

  test.each(["worker_secret", "shared_secret"])("%s in the configuration is not shown with it", (key) => {
    const path = box.write("config.yaml", configText({ secret: `${key}: hunter2` }));
    const loaded = loadWhole({ path, env: {}, home: box.home });
    const shown = effectiveYaml(loaded);
    expect(shown).toContain(`${key}: "[secret]"`);
    for (const text of [shown, JSON.stringify(loaded.config), Bun.inspect(loaded.config)]) {
      expect(text).not.toContain("hunter2");
    }
    expect(readSecret(loaded.config.emx2.secret).reveal()).toBe("hunter2");
  });
});
