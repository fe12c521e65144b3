/** Directories on a real file system: what is said of them, and that looking changes nothing. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../../../src/clock.ts";
import { loadConfig } from "../../../../src/config/load.ts";
import {
  checkOtherDirectories,
  checkStateDir,
  checkTmpDir,
  ofFileSystem,
} from "../../../../src/daemon/checks/directories.ts";
import { silent } from "../../../../src/daemon/checks/slurm.ts";

let dir = "";
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "emx2-directories-"));
  for (const name of ["jobs", "state"]) mkdirSync(join(dir, name), { mode: 0o700 });
  writeFileSync(join(dir, "file"), "");
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function partsOf(worker: object, apptainer: object, profiles: object = {}) {
  const emx2 = { base_url: "https://emx2.example.org", worker_id: "w1", worker_secret_file: "secret" };
  const settings = {
    emx2,
    worker: { min_free_disk: 0, ...worker },
    apptainer: { tmp_dir: "jobs", ...apptainer },
    profiles,
  };
  writeFileSync(join(dir, "config.yaml"), JSON.stringify(settings));
  const config = loadConfig({ path: join(dir, "config.yaml"), env: {}, home: dir });
  return { config, clock: systemClock, user: "ann" };
}

const cluster = Promise.resolve(silent([]));

test("tmp_dir has to be a directory that is there", async () => {
  expect(await checkTmpDir(partsOf({}, {}), cluster)).toEqual([
    expect.objectContaining({ item: "tmp_dir", result: "ok", detail: expect.stringMatching(/jobs, .* GiB free/) }),
  ]);
  expect(await checkTmpDir(partsOf({}, { tmp_dir: "file" }), cluster)).toEqual([
    expect.objectContaining({ result: "failed", detail: expect.stringContaining("is not a directory") }),
  ]);
  expect(await checkTmpDir(partsOf({}, { tmp_dir: "none" }), cluster)).toEqual([
    expect.objectContaining({ result: "failed", fix: expect.stringContaining("mkdir -p -m 700") }),
  ]);
});

test("state_dir may be made later, below what is there, and is not made by looking", async () => {
  const [line] = await checkStateDir(partsOf({ state_dir: "new/state" }, {}));
  expect(line).toMatchObject({ result: "ok", detail: expect.stringContaining("new/state (will be made)") });
  const [below] = await checkStateDir(partsOf({ state_dir: "file/state" }, {}));
  expect(below).toMatchObject({ result: "failed" });
  expect(readdirSync(dir).sort()).toEqual(["config.yaml", "file", "jobs", "state"]);
});

test("the file system of state_dir is named, with what follows from it", async () => {
  const items = await checkStateDir(partsOf({ state_dir: "state" }, {}));
  expect(items.at(-1)).toMatchObject({ item: "state_dir", detail: expect.stringMatching(/ is \w+[:,] /) });
});

test.each([
  ["ext4", [], "ok", /on this host alone/],
  ["tmpfs", [], "warning", /a reboot takes the state away/],
  ["nfs4", ["rw"], "ok", /^\/data is nfs4: the lease .* every host, .* after 180 s$/],
  ["nfs", ["nolock"], "ok", /without locks between hosts: the lease/],
  ["lustre", ["flock"], "ok", /^\/data is lustre: the lease/],
  ["gpfs", [], "ok", /^\/data is gpfs: the lease/],
])("a state on %s %p is %s", (kind, options, result, detail) => {
  const line = ofFileSystem("state_dir", { point: "/data", kind, source: "s", options }, 180);
  expect(line).toMatchObject({ item: "state_dir", result, detail: expect.stringMatching(detail) });
});

test("what jobs read may be on the nodes alone; where they leave results must be here", async () => {
  const image = { sif_image: "/nfs/image.sif", output_residence: "posix", posix_output_dir: join(dir, "none") };
  const parts = partsOf(
    {},
    { posix_roots: [join(dir, "jobs"), join(dir, "gone")], bind_paths: [`${dir}/gone:/data`] },
    { "embed/gpu": image, "embed/cpu": image },
  );
  const items = await checkOtherDirectories(parts);
  expect(items.map(({ item, result }) => `${item} ${result}`)).toEqual([
    "posix_output_dir failed",
    "posix_roots ok",
    "posix_roots warning",
    "bind_paths warning",
  ]);
  expect(items[3]?.fix).toContain("unless compute nodes alone have it");
});
