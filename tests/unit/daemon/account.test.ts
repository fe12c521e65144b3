import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../../src/clock.ts";
import { explain } from "../../../src/commands/exit.ts";
import { submittingUser } from "../../../src/daemon/account.ts";
import { SubprocessError } from "../../../src/errors.ts";

const never = new AbortController().signal;
let dir = "";
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "emx2-account-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** PATH with an id(1) in front that does this. */
function path(script: string): { PATH: string } {
  writeFileSync(join(dir, "id"), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return { PATH: `${dir}:/usr/bin:/bin` };
}

test("the user who submits is the one that id(1) names", async () => {
  expect(await submittingUser(systemClock, never, path("echo ann"))).toBe("ann");
  expect(await submittingUser(systemClock, never)).toBe(Bun.spawnSync(["id", "-un"]).stdout.toString().trim());
});

test("a uid without a name is told to the operator, and is no bug of ours", async () => {
  const env = path('echo "id: cannot find name for user ID 4711" >&2; echo 4711; exit 1');
  const error = await submittingUser(systemClock, never, env).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(SubprocessError);
  const { code, text } = explain(error);
  expect(code).toBe(1);
  expect(text).toContain("the name of the user who submits is not known");
  expect(text).toContain("cannot find name for user ID 4711");
});

test("a stop ends the wait for a name service, and is no fault", async () => {
  const stop = new AbortController();
  const asked = submittingUser(systemClock, stop.signal, path("exec sleep 60"));
  const reason = new DOMException("stopped", "AbortError");
  stop.abort(reason);
  expect(await asked.catch((thrown: unknown) => thrown)).toBe(reason);
});
