/** What `check` says of images, on a real file system. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../../../src/clock.ts";
import { loadConfig } from "../../../../src/config/load.ts";
import { checkImages, fuse, userNamespaces } from "../../../../src/daemon/checks/images.ts";

/** A header that announces `dataBytes` behind it, and four of them. */
function sif(code: string, dataBytes = 4): Buffer {
  const header = Buffer.alloc(128);
  header.write(`#!/usr/bin/env run-singularity\n\0SIF_MAGIC\0${"01\0"}${code}\0`, "latin1");
  header.writeBigUInt64LE(128n, 112);
  header.writeBigUInt64LE(BigInt(dataBytes), 120);
  return Buffer.concat([header, Buffer.from("data")]);
}
const here = process.arch === "x64" ? "02" : "04";
const other = process.arch === "x64" ? "04" : "02";
const sha256 = createHash("sha256").update(sif(here)).digest("hex");

let dir = "";
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "emx2-images-"));
  for (const name of ["jobs", "tmp", "sandbox"]) mkdirSync(join(dir, name));
  writeFileSync(join(dir, "tool.sif"), sif(here));
  writeFileSync(join(dir, "other.sif"), sif(other));
  writeFileSync(join(dir, "text.sif"), "no image at all");
  writeFileSync(join(dir, "short.sif"), sif(here, 5));
  writeFileSync(join(dir, "header.sif"), sif(here).subarray(0, 100));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

async function lines(profiles: object, apptainer: object = {}) {
  const emx2 = { base_url: "https://emx2.example.org", worker_id: "w1", worker_secret_file: "secret" };
  const settings = { emx2, apptainer: { tmp_dir: "jobs", ...apptainer }, profiles };
  writeFileSync(join(dir, "config.yaml"), JSON.stringify(settings));
  const config = loadConfig({ path: join(dir, "config.yaml"), env: {}, home: dir });
  return checkImages({ config, clock: systemClock, env: process.env });
}

const line = async (profile: object, item: string) =>
  (await lines({ "p/q": profile })).find((each) => each.item === `${item} of p/q`);

test.each([
  ["one for this host", { sif_image: "tool.sif" }, "sif_image", "ok", /tool\.sif/],
  ["one for another processor", { sif_image: "other.sif" }, "sif_image", "warning", /is built for/],
  ["one that is none", { sif_image: "text.sif" }, "sif_image", "failed", /no SIF/],
  ["one that is cut short", { sif_image: "short.sif" }, "sif_image", "failed", /132 bytes, and should have 133/],
  ["one that ends in its header", { sif_image: "header.sif" }, "sif_image", "failed", /cut short: it has 100 bytes/],
  ["one that is not there", { sif_image: "none.sif" }, "sif_image", "failed", /ENOENT/],
  ["a directory", { sif_image: "sandbox" }, "sif_image", "warning", /is a directory/],
  ["a directory held to a hash", { sif_image: "sandbox", sif_sha256: sha256 }, "sif_image", "failed", /no sif_sha256/],
  ["its hash", { sif_image: "tool.sif", sif_sha256: sha256 }, "sif_sha256", "ok", /as it should be/],
  ["another hash", { sif_image: "tool.sif", sif_sha256: "0".repeat(64) }, "sif_sha256", "failed", new RegExp(sha256)],
] as const)("of an image, %s", async (_, profile, item, result, detail) => {
  expect(await line(profile, item)).toMatchObject({ result, detail: expect.stringMatching(detail) });
});

test("an image of several profiles is read once, and those whose hash it is not are named", async () => {
  const held = (hash: string) => ({ sif_image: "tool.sif", sif_sha256: hash });
  const items = await lines({ "p/a": held(sha256), "p/b": held("0".repeat(64)), "p/c": { sif_image: "tool.sif" } });
  expect(items.filter(({ item }) => item.startsWith("sif_"))).toEqual([
    expect.objectContaining({ item: "sif_image of p/a, p/b, p/c", result: "ok" }),
    expect.objectContaining({ item: "sif_sha256 of p/a, p/b", detail: expect.stringMatching(/not that of p\/b$/) }),
  ]);
});

test("room for the cache and temporary files, as far as this host can tell", async () => {
  const items = await lines({ "p/q": { sif_image: "tool.sif" } }, { image_tmp_dir: "tmp", cache_dir: "none" });
  const of = (name: string) => items.find(({ item }) => item === name);
  expect(of("image_tmp_dir")).toMatchObject({ result: "ok", detail: expect.stringMatching(/GiB free/) });
  expect(of("cache_dir")).toMatchObject({ result: "warning", fix: expect.stringContaining("mkdir -p") });
});

test("nothing is said where no profile has an image", async () => {
  expect(await lines({ "p/q": { host_entrypoint: "/bin/true" } })).toEqual([]);
});

const none = { maxUserNamespaces: undefined, usernsClone: undefined, apparmorRestricts: undefined };
const open = { ...none, setuidStarter: undefined, fuse: true };
const starter = "/usr/libexec/apptainer/bin/starter-suid";

test.each([
  ["a host without switches", {}, "ok", /ordinary users/],
  ["some thousand", { maxUserNamespaces: "63000", usernsClone: "1", apparmorRestricts: "0" }, "ok", /ordinary users/],
  ["none at all", { maxUserNamespaces: "0" }, "warning", /max_user_namespaces is 0/],
  ["Debian's switch", { usernsClone: "0" }, "warning", /unprivileged_userns_clone/],
  ["Ubuntu's switch", { apparmorRestricts: "1" }, "warning", /apparmor/],
  ["a setuid starter in their place", { maxUserNamespaces: "0", setuidStarter: starter }, "ok", /setuid starter/],
] as const)("user namespaces: %s", (_, facts, result, detail) => {
  expect(userNamespaces({ ...open, ...facts })).toMatchObject({ result, detail: expect.stringMatching(detail) });
});

test.each([
  ["is there", {}, "ok"],
  ["is not", { fuse: false }, "warning"],
  ["is not needed", { fuse: false, setuidStarter: starter }, "ok"],
] as const)("FUSE %s", (_, facts, result) => {
  expect(fuse({ ...open, ...facts }).result).toBe(result);
});
