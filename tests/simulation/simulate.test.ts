/** Thousands of worlds, each with faults of its own: every promise holds in all of them. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { simulate } from "./world.ts";

const seeds = Number(process.env["EMX2_SIMULATION_SEEDS"] ?? 2_000);
const processes = 2;
const limitMs = 180_000;

test(
  `every promise holds in ${seeds} worlds`,
  async () => {
    const parts = Array.from({ length: processes }, (_, index) =>
      run("--seeds", `${seeds}`, "--part", `${index + 1}/${processes}`),
    );
    for (const { exitCode, out } of await Promise.all(parts)) {
      if (exitCode !== 0) throw new Error(out);
      expect(out).toContain(`${seeds / processes} worlds, 0 with a broken promise`);
    }
  },
  limitMs,
);

test("the same seed gives the same chronicle, another one another", async () => {
  const [first, second, other] = [await simulate(7), await simulate(7), await simulate(8)];
  expect(second.lines).toEqual(first.lines);
  expect(other.lines).not.toEqual(first.lines);
});

test("a seed by itself says where its chronicle is", async () => {
  const { exitCode, out } = await run("--seed", "7");
  expect(out).toMatch(/^seed 7: all promises are kept; the whole of it: \/.*seed-7\.log\n1 worlds, 0 /);
  expect(exitCode).toBe(0);
});

async function run(...args: string[]): Promise<{ readonly exitCode: number; readonly out: string }> {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "simulate.ts"), ...args], { stderr: "pipe" });
  const [out, errors] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { exitCode: await child.exited, out: out + errors };
}
