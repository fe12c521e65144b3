/** A container over the memory that its job has, where control groups hold it to that. */
import { expect, test } from "bun:test";
import { onImages, openImageStage, shellOf, submitProgram } from "../images.ts";
import { cluster } from "../own-cluster.ts";
import { slurmBoundMs, textOf } from "../real-slurm.ts";

const hungry = "head -c 300000000 /dev/zero | tail -n 1 >/dev/null";

onImages("a container that needs more memory than its job has", () => {
  // A machine has control groups of one version or the other; without those of version 1 nothing is held to its memory here.
  if (!cluster.hasControlGroups) return;
  test("is FAILED as OUT_OF_MEMORY, also where its program goes on and exits 0", async () => {
    await using stage = await openImageStage({ profiles: { small: { ...shellOf, memory: "50M" } } });
    stage.start("run");
    const ids = [hungry, `${hungry} || echo went on`].map((program) => submitProgram(stage, "small", program));
    for (const id of ids) {
      await stage.untilStatus(id, "FAILED", slurmBoundMs);
      const detail = stage.job(id).transitions.at(-1)?.detail ?? "";
      expect(detail).toMatch(/^slurm_state=OUT_OF_MEMORY; .*killed \d process\(es\) of the job for memory/s);
    }
    expect(textOf(stage.log(ids[1] ?? ""), "container-stdout.log")).toBe("went on\n");
  });
});
