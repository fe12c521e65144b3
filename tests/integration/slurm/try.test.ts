/** `try` on a real Slurm with real images: a good profile, and what each of several broken ones is told. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { sha256Hex } from "../../../src/emx2/signature.ts";
import { bare, onImages, openImageStage, shellOf, tool } from "./images.ts";
import type { SlurmStage } from "./real-slurm.ts";

const boundMs = 90_000;
const profiles = {
  good: { ...shellOf, memory: "200M", time: "5", cpus: 1 },
  absent: { sif_image: "/nowhere/at/all.sif", container_entrypoint: "/bin/sh" },
  other: { ...shellOf, sif_sha256: "0".repeat(64) },
  mistaken: { sif_image: tool, container_entrypoint: "/opt/nothing" },
  bare: { sif_image: bare },
  unbound: { ...shellOf, apptainer_args: ["--bind=/nowhere/at/all:/data"] },
  nowhere: { ...shellOf, partition: "nowhere" },
  huge: { ...shellOf, memory: "9999G" },
};

interface Report {
  readonly status: string;
  readonly node?: string;
  readonly queueSeconds?: number;
  readonly runSeconds?: number;
  readonly imageSha256?: string;
  readonly used?: { readonly elapsedSeconds?: number };
  readonly saw: { readonly image?: { readonly user?: string; readonly cpus?: number; readonly places: object } };
  readonly outputs: readonly object[];
  readonly verdicts: readonly { item: string; result: string; detail: string; fix?: string }[];
}

onImages("try", () => {
  let stage: SlurmStage;
  beforeAll(async () => {
    stage = await openImageStage({ profiles });
  });
  afterAll(() => stage[Symbol.asyncDispose]());

  const tryOut = async (processor: string, program: string) => {
    const words = ["--arg=-ec", "--arg", program];
    const ended = await stage.start("try", `${processor}/default`, "--json", ...words).ended(boundMs);
    return { ...ended, report: JSON.parse(ended.stdout) as Report };
  };

  test.concurrent("proves a good profile: what the job saw, how long it took, and its outputs", async () => {
    const program =
      "echo hello >/output/result; [ ! -e /work/../.emx2 ]; ls /work >/output/work; mkdir -p /work/a/b; chmod 0 /work/a";
    const { exitCode, report } = await tryOut("good", program);
    expect({ exitCode, verdicts: report.verdicts }).toMatchObject({ exitCode: 0 });
    expect(report.verdicts.filter(({ result }) => result === "failed")).toEqual([]);
    const items = report.verdicts.filter(({ result }) => result === "ok").map(({ item }) => item);
    for (const item of ["job", "outputs", "time", "image on the node", "image start-up", "user namespaces", "CPUs"])
      expect(items).toContain(item);
    expect(report.outputs).toMatchObject([
      { path: "result", sha256: sha256Hex("hello\n") },
      { path: "work", sha256: sha256Hex("parameters.json\n") },
    ]);
    expect(report.imageSha256).toMatch(/^[0-9a-f]{64}$/);
    expect(report.queueSeconds).toBeGreaterThan(0);
    expect(report.runSeconds).toBeGreaterThan(0);
    expect(report.used?.elapsedSeconds).toBeGreaterThanOrEqual(0);
    const room = { freeBytes: expect.any(Number) };
    expect(report.saw.image).toMatchObject({
      user: expect.stringContaining("uid "),
      places: { work: room, output: room, tmp: room },
    });
  });

  test.concurrent.each([
    [
      "an image that is not there",
      "absent",
      "/nowhere/at/all.sif can not be read: it is not there",
      "correct the profile",
    ],
    ["another image than its hash says", "other", "and not the profile's sif_sha256", "correct the profile"],
    ["a program that is not in the image", "mistaken", "the program is not in the image", "container_entrypoint"],
    ["an image without a runscript", "bare", "the image has no runscript", ""],
    [
      "a bind whose source is not there",
      "unbound",
      "/nowhere/at/all, which is to be bound, is not there",
      "apptainer_args",
    ],
    ["a partition that is not there", "nowhere", "invalid partition specified: nowhere", "correct the profile"],
    ["more memory than any node has", "huge", "Memory specification can not be satisfied", "correct the profile"],
    ["a program that fails", "good", "exit code 7", "the submitter"],
  ])("tells of %s", async (_, processor, cause, fix) => {
    const { exitCode, report } = await tryOut(processor, "exit 7");
    expect(exitCode).toBe(1);
    const failed = report.verdicts.filter(({ result }) => result === "failed");
    expect(failed.map(({ item }) => item)).toEqual(["job"]);
    expect(failed[0]?.detail).toContain(cause);
    expect(failed[0]?.fix ?? "").toContain(fix);
  });

  test("leaves nothing behind, and asks nothing of EMX2", () => {
    expect(readdirSync(join(stage.dir, "jobs"))).toEqual([]);
    expect(stage.requests).toEqual([]);
  });
});
