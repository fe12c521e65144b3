/** The plain walk under kills and lost answers: fifty seeds, and the promises that must hold in each. */
import { describe, expect, test } from "bun:test";
import { sha256Hex } from "../../src/emx2/signature.ts";
import { isTerminal } from "../../src/job/status.ts";
import { simulate, type World } from "./world.ts";

const seeds = Number(process.env["EMX2_SIMULATION_SEEDS"] ?? 50);
const only = process.env["EMX2_SIMULATION_SEED"];

function walk(seed: number): Promise<World> {
  return simulate({
    seed,
    jobs: 4,
    kills: 3,
    scheduler: { lostSubmit: 0.1, lostSubmitArrives: 0.5, unavailable: 0.05 },
    network: { lostRequest: 0.03, lostAnswer: 0.03 },
  });
}

/** What must hold of every job, told with the seed and the last events where it does not. */
function expectPromisesKept(seed: number, world: World): void {
  try {
    for (const id of world.jobIds) expectOneRunAndOneResult(world, id);
  } catch (error) {
    throw new Error(`seed ${seed}:\n${world.events.join("\n")}`, { cause: error });
  }
}

function expectOneRunAndOneResult({ server, cluster }: World, id: string): void {
  const job = server.jobs.get(id);
  expect(job?.status).toBe("COMPLETED");
  expect(cluster.ledger.filter((line) => line === id)).toHaveLength(1);
  expect(job?.transitions.filter(({ to }) => isTerminal(to))).toHaveLength(1);
  const statuses = job?.transitions.map(({ to }) => to);
  expect([...new Set(statuses)]).toEqual(["PENDING", "CLAIMED", "SUBMITTED", "STARTED", "COMPLETED"]);

  const output = server.artifacts.get(job?.outputArtifactId ?? "");
  expect(output?.status).toBe("COMMITTED");
  const content = output?.files.get("result.txt")?.content;
  expect(new TextDecoder().decode(content ?? undefined)).toBe(`result of ${id}\n`);
  expect(output?.sha256).toBe(sha256Hex(`result of ${id}\n`));
  expect(server.artifacts.get(job?.logArtifactId ?? "")?.status).toBe("COMMITTED");

  const committed = [...server.artifacts.values()].filter(
    (artifact) => artifact.name === `output-${id.slice(0, 8)}` && artifact.files.size > 0,
  );
  expect(committed).toHaveLength(1);
}

describe("a plain walk with kills and lost answers", () => {
  const chosen = only === undefined ? Array.from({ length: seeds }, (_, index) => index + 1) : [Number(only)];
  test.each(chosen)("seed %i: each job runs once and comes back whole", async (seed) => {
    expectPromisesKept(seed, await walk(seed));
  });

  test("the same seed gives the same event log", async () => {
    const [first, second, other] = [await walk(7), await walk(7), await walk(8)];
    expect(second.events).toEqual(first.events);
    expect(other.events).not.toEqual(first.events);
  });
});
