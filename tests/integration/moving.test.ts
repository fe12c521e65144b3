/** Many files of one job: several on their way at once, no more than may be, and how far they have got is to be seen. */
import { expect, test } from "bun:test";
import { openStage } from "./harness.ts";

const testMs = 90_000;
const files = 250;
const maxTransfers = 4;
const many = `i=0; while [ $i -lt ${files} ]; do echo $i >"$HPC_OUTPUT_DIR/f$i"; i=$((i + 1)); done`;

test.each(["2026-02", "2026-05"] as const)(
  "the outputs of a job go to EMX2 of %s several at once, and status tells how many have arrived",
  async (generation) => {
    await using stage = await openStage({ generation, profiles: { many: { program: many } } });
    const release = Promise.withResolvers<void>();
    let now = 0;
    let most = 0;
    stage.around = async (request, answer) => {
      if (request.method !== "PUT") return answer();
      now += 1;
      most = Math.max(most, now);
      if (request.url.endsWith("/f105")) await release.promise;
      const answered = await answer();
      now -= 1;
      return answered;
    };
    const id = stage.submit("many");
    const run = stage.start("run");
    const moving = await stage.until(
      "status shows all but one file of the group",
      async () => {
        const { stdout } = await stage.start("status", "--json").ended();
        const { jobs } = JSON.parse(stdout || "{}") as { jobs?: { jobId: string; moving: { files: number } | null }[] };
        const row = jobs?.find(({ jobId }) => jobId === id);
        // Sorted by name, f105 is among the first hundred.
        return row?.moving?.files === 99 ? row.moving : undefined;
      },
      60_000,
    );
    expect(moving).toMatchObject({ lane: "outputs", files: 99, ofFiles: files });
    release.resolve();
    await stage.untilStatus(id, "COMPLETED");
    expect(most).toBe(maxTransfers);
    const puts = stage.requests.filter((line) => line.startsWith("PUT") && /\/f\d+$/.test(line));
    expect([puts.length, new Set(puts).size]).toEqual([files, files]);
    run.kill();
    expect((await run.ended()).exitCode).toBe(0);
  },
  testMs,
);
