/** `try` on a real Slurm with real images: a good profile, and what each of several broken ones is told. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
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
  short: { ...shellOf, sif_image: "images/short.sif" },
  unloaded: { ...shellOf, prelude: ["echo module: not found >&2", "exit 0"] },
  talkative: { ...shellOf, prelude: ["echo module: not found >&2"] },
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
    stage = await openImageStage({ profiles, directories: ["images"] });
    writeFileSync(join(stage.dir, "images/short.sif"), readFileSync(tool).subarray(0, 100_000));
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
    ["an image that was cut short", "short", "the image on the node is not a whole one", "again"],
    [
      "a prelude that ends the run, though with 0",
      "unloaded",
      "the profile's prelude ended the run with exit code 0",
      "correct the prelude",
    ],
    ["an image without a runscript", "bare", "the image has no runscript", ""],
    [
      "a bind whose source is not there",
      "unbound",
      "/nowhere/at/all, which is to be bound, is not there",
      "apptainer_args",
    ],
    ["a partition that is not there", "nowhere", "invalid partition specified: nowhere", "correct the profile"],
    ["more memory than any node has", "huge", "Memory specification can not be satisfied", "correct the profile"],
    ["a program that fails", "good", "exit code 7; who can act: the submitter", ""],
  ])("tells of %s", async (_, processor, cause, fix) => {
    const { exitCode, report } = await tryOut(processor, "exit 7");
    expect(exitCode).toBe(1);
    const failed = report.verdicts.filter(({ result }) => result === "failed");
    expect(failed.map(({ item }) => item)).toEqual(["job"]);
    expect(failed[0]?.detail).toContain(cause);
    expect(failed[0]?.fix ?? "").toContain(fix);
  });

  test.concurrent("tells what a prelude wrote, and exit code 255 of an image that starts from Apptainer's", async () => {
    const { exitCode, report } = await tryOut("talkative", "echo no such sample >&2; exit 255");
    expect(exitCode).toBe(1);
    expect(report.verdicts.find(({ item }) => item === "prelude")?.detail).toBe("wrote: module: not found");
    expect(report.verdicts.find(({ result }) => result === "failed")).toMatchObject({
      ...{ item: "job", detail: "FAILED: the program ended with exit code 255; who can act: the submitter" },
    });
  });

  test("leaves nothing behind, and asks nothing of EMX2", () => {
    expect(readdirSync(join(stage.dir, "jobs"))).toEqual([]);
    expect(stage.requests).toEqual([]);
  });

  test("check says before that which images are not there, or not whole", async () => {
    const { stdout, stderr, exitCode } = await stage.start("check", "--json").ended(boundMs);
    expect({ exitCode, stderr }).toEqual({ exitCode: 1, stderr: "" });
    const { items } = JSON.parse(stdout) as { items: Report["verdicts"] };
    const ofImages = items.filter(({ item }) => item.startsWith("sif_"));
    expect(ofImages.filter(({ result }) => result !== "ok").map(({ item }) => item)).toEqual([
      ...["sif_sha256 of other/default", "sif_image of absent/default", "sif_image of short/default"],
    ]);
    expect(ofImages.find(({ item }) => item.includes("short"))?.detail).toMatch(/is cut short: it has 100000 bytes/);
    expect(items.find(({ item }) => item === "Apptainer")).toMatchObject({
      result: "ok",
      detail: expect.stringContaining("1.4.5"),
    });
  });
});
