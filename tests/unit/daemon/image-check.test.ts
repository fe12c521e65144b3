/** An image is held to its hash before each submission, and one that was replaced is noticed. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, renameSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { lookAtImage, readSif } from "../../../src/artifacts/image.ts";
import { createJobDirectory } from "../../../src/artifacts/job-directory.ts";
import { systemClock } from "../../../src/clock.ts";
import { imageChanged, imageFit, imageSeen } from "../../../src/daemon/image-check.ts";
import { submit } from "../../../src/daemon/run-effects.ts";
import { reportDetail } from "../../../src/job/detail.ts";
import type { Job } from "../../../src/job/job.ts";
import type { Profile } from "../../../src/job/profile.ts";
import { recordingLog, state } from "../artifacts/work-directory.ts";
import { hostProfile } from "../job/job-directory.ts";
import { play, ref, succeeded, toTracked } from "../job/story.ts";

const never = new AbortController().signal;
const files = createJobDirectory({ clock: systemClock, state, log: recordingLog([]) });
const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

let base: string;
let image: string;
let job: Job;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "emx2-image-"));
  mkdirSync(join(base, ".emx2"));
  image = join(base, "tool.sif");
  writeFileSync(image, "one");
  job = { ...play(toTracked.slice(0, -1)), dir: base };
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

function profile(sha256?: string): Profile {
  const workload = { kind: "image", image, isolation: "contained", gpuRuntime: "none", apptainerArgs: [] } as const;
  return { ...hostProfile, workload: sha256 === undefined ? workload : { ...workload, sha256 } };
}

const replaced = (text: string) => {
  writeFileSync(`${image}.new`, text);
  renameSync(`${image}.new`, image);
};

test("what was seen when the script was written fits, and is not looked at again", async () => {
  const seen = await imageSeen(job, profile(), files, never);
  expect(seen).toEqual({ image: { path: image, state: expect.any(String), sha256: sha256("one") } });
  const again = { ...files, lookAtImage: () => Promise.reject(new Error("it is read again")) };
  expect(await imageFit({ ...job, ...seen }, profile(sha256("one")), again, never)).toEqual({ is: "fits" });
});

test("an image that was replaced since is read again, and held to the profile's hash", async () => {
  const seen = { ...job, ...(await imageSeen(job, profile(), files, never)) };
  replaced("two");
  expect(await imageFit(seen, profile(sha256("two")), files, never)).toMatchObject({
    ...{ is: "fits", image: { sha256: sha256("two") } },
  });
  const refused = await imageFit(seen, profile(sha256("one")), files, never);
  expect(refused).toEqual({ is: "refused", cause: expect.stringContaining(sha256("two")) });
});

test.each([
  ["is not there", () => rmSync(image), /can not be read/],
  ["is a FIFO", () => rmSync(image) ?? Bun.spawnSync(["mkfifo", image]), /no regular file/],
  ["is a directory that can have no hash", () => rmSync(image) ?? mkdirSync(image), /is a directory/],
])("an image that %s is refused", async (_, change, cause) => {
  change();
  expect(await imageSeen(job, profile(), files, never)).toEqual({});
  const fit = await imageFit(job, profile(sha256("one")), files, never);
  expect(fit).toEqual({ is: "refused", cause: expect.stringMatching(cause) });
});

test("a directory is an image where no hash is asked for", async () => {
  rmSync(image);
  mkdirSync(image);
  expect(await imageFit(job, profile(), files, never)).toEqual({ is: "fits" });
});

test("nothing is submitted with another image, and it counts towards holding the profile", async () => {
  const told: string[] = [];
  const untouched = () => {
    throw new Error("it was submitted");
  };
  const context = {
    ...{ files, profileOf: () => profile(sha256("two")), schedulerOf: untouched, schedulerDown: untouched },
    holds: {
      refused: (_: Job, cause: string) => void told.push(cause),
      taken: untouched,
      unstarted: untouched,
      begun: untouched,
    },
    busy: { began: untouched, taken: untouched },
  };
  const { result } = await submit(job, { kind: "Submit", ref: { ...ref, dir: base } }, context, never);
  expect(result).toMatchObject({ is: "retry", answered: true });
  expect(told).toEqual([expect.stringContaining("sif_sha256")]);
});

test("an image that was changed before the run's end is told in the detail, also where its size and mtime are the same", async () => {
  const seen: Job = { ...job, ...(await imageSeen(job, profile(), files, never)) };
  utimesSync(image, 1, 1);
  const old: Job = { ...job, ...(await imageSeen(job, profile(), files, never)) };
  expect(await imageChanged(old, files)).toEqual({});
  writeFileSync(image, "two");
  utimesSync(image, 1, 1);
  const changed = await imageChanged(old, files);
  expect(changed).toEqual({ imageChanged: true });
  expect(reportDetail(old, { ...succeeded, ...changed }, [])).toContain(`${image} may not be the one`);
  expect(reportDetail(seen, succeeded, [])).not.toContain("image");
});

test("a hash that is remembered is believed as long as the file is as it was", async () => {
  const hashes = new Map<string, string>();
  const known = {
    hashOf: (path: string, at: string) => hashes.get(`${path} ${at}`),
    remember: (path: string, at: string, hash: string) => void hashes.set(`${path} ${at}`, hash),
  };
  const reading = {
    ...{ known, now: async () => systemClock.wall() + 10_000 },
    progress: { step() {}, elsewhere: <T>(wait: Promise<T>) => wait },
  };
  await lookAtImage(image, reading);
  for (const key of hashes.keys()) hashes.set(key, "remembered");
  expect(await lookAtImage(image, reading)).toMatchObject({ seen: { sha256: "remembered" } });
  replaced("two");
  expect(await lookAtImage(image, reading)).toMatchObject({ seen: { sha256: sha256("two") } });
});

test.each([
  ["02", { architecture: "x64" }],
  ["04", { architecture: "arm64" }],
  ["99", {}],
])("a SIF's header with architecture %s", async (code, expected) => {
  const launch = "#!/usr/bin/env run-singularity\n\0";
  writeFileSync(image, `${launch}SIF_MAGIC\0${"01\0"}${code}\0rest`);
  expect(await readSif(image)).toEqual(expected);
  writeFileSync(image, "#!/bin/sh\n");
  expect(await readSif(image)).toBeNull();
});
