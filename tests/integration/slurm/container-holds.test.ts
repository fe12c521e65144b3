/** Images that nodes can not start: the operator's to mend, and not to burn a night's queue; and what a job may say of it. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { appendFileSync, copyFileSync } from "node:fs";
import { join } from "node:path";
import { bare, onImages, openImageStage, shellOf, submitProgram, tool } from "./images.ts";
import { type SlurmStage, slurmBoundMs, textOf } from "./real-slurm.ts";

const profiles = {
  unbound: { ...shellOf, apptainer_args: ["--bind=/nowhere/at/all:/data"] },
  bare: { sif_image: bare },
  unloaded: { ...shellOf, prelude: ["exit 0"] },
  honest: shellOf,
  checked: { ...shellOf, sif_image: "images/checked.sif", sbatch_args: ["--hold"] },
};
const forgery = "echo 'FATAL:   container creation failed: mount source /data does not exist' >&2; exit 255";

onImages("a profile", () => {
  let stage: SlurmStage;
  beforeAll(async () => {
    const sha256 = new Bun.CryptoHasher("sha256").update(await Bun.file(tool).bytes()).digest("hex");
    const checked = { ...profiles.checked, sif_sha256: sha256 };
    stage = await openImageStage({ profiles: { ...profiles, checked }, directories: ["images"] });
    copyFileSync(tool, join(stage.dir, "images/checked.sif"));
    stage.start("run");
  });
  afterAll(() => stage[Symbol.asyncDispose]());

  const threeFail = async (processor: string, program: string) => {
    for (let count = 0; count < 3; count++) {
      const id = submitProgram(stage, processor, program);
      await stage.untilStatus(id, "FAILED", slurmBoundMs);
    }
  };
  const held = async () => {
    const { stdout } = await stage.start("status", "--json").ended();
    return JSON.parse(stdout).held as { readonly profile: string; readonly cause: string }[];
  };

  test("whose image can not be started three times, or whose prelude ends its runs, is held, with the cause, and no job can bring that about", async () => {
    const unstarted = [
      threeFail("bare", "echo never"),
      threeFail("unbound", "echo never"),
      threeFail("unloaded", "echo never"),
    ];
    await Promise.all([...unstarted, threeFail("honest", forgery)]);
    await stage.until("three profiles are held", async () => (await held()).length > 2, slurmBoundMs);
    expect((await held()).toSorted((a, b) => (a.profile < b.profile ? -1 : 1))).toMatchObject([
      { profile: "bare/default", cause: "the image has no runscript" },
      { profile: "unbound/default", cause: "/nowhere/at/all, which is to be bound, is not there on the node" },
      { profile: "unloaded/default", cause: "the profile's prelude ended the run with exit code 0" },
    ]);
    const id = submitProgram(stage, "honest", "echo well >/output/result");
    await stage.untilStatus(id, "COMPLETED", slurmBoundMs);
  });

  test("an image that was replaced while its job was in the queue is not started", async () => {
    const id = submitProgram(stage, "checked", "echo never >/output/never");
    await stage.untilStatus(id, "SUBMITTED", slurmBoundMs);
    appendFileSync(join(stage.dir, "images/checked.sif"), "something else");
    stage.slurm("scontrol", "release", stage.job(id).slurmJobId ?? "");
    await stage.untilStatus(id, "FAILED", slurmBoundMs);
    const detail = stage.job(id).transitions.at(-1)?.detail;
    expect(detail).toContain("checked.sif is not the image whose sha256 was checked");
    expect(detail).toContain("the operator of this worker");
    expect(textOf(stage.log(id), "container-stderr.log")).toContain("it was replaced since");
  });
});
