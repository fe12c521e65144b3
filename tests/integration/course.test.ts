/** The whole course of a job through the executable, on every generation of EMX2, every backend and both residences. */
import { describe, expect, test } from "bun:test";
import { courseOptions, expectCourse, generations, residences, submitCourse } from "./course.ts";
import { openStage } from "./harness.ts";

const testMs = 60_000;
const table = generations.flatMap((generation) =>
  (["slurm", "shell", "simulate"] as const).flatMap((backend) =>
    residences.map((residence) => [generation, backend, residence] as const),
  ),
);

describe("a job's whole course", () => {
  test.each(table)(
    "EMX2 %s, backend %s, %s",
    async (generation, backend, residence) => {
      await using stage = await openStage(courseOptions(generation, residence));
      const id = submitCourse(stage, residence);
      const run = stage.start("run", "--backend", backend);
      await stage.untilStatus(id, "COMPLETED");
      expectCourse(stage, id, residence, backend === "simulate");
      run.kill();
      expect((await run.ended()).exitCode).toBe(0);
    },
    testMs,
  );
});
