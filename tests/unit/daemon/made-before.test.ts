/** The artifact that an upload was begun in is gone on with, where EMX2 bears out what the job directory says. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../../src/clock.ts";
import { keepMade, madeBefore } from "../../../src/daemon/made-before.ts";
import { type ServedEmulator, serve } from "../../../src/emulator/serve.ts";
import { addArtifact, addWorkerCredential } from "../../../src/emulator/submitter.ts";
import type { Emx2Client, NewArtifact } from "../../../src/emx2/client.ts";
import { jobId, ownerOf, sha256, type WorkDirectory, workDirectory } from "../artifacts/work-directory.ts";
import { clientOf, secret } from "../emx2/raw-server.ts";

const wanted: NewArtifact = {
  type: "blob",
  residence: "managed",
  name: "output-550e8400",
  metadata: {
    ...{ jobId, processor: "p", profile: null, role: "output", createdBy: null },
    ...{ inputArtifactIds: [], parametersHash: "" },
  },
};
const call = {};
let work: WorkDirectory;
let server: ServedEmulator;
let client: Emx2Client;

beforeEach(async () => {
  work = workDirectory();
  await work.files.create(work.dir, ownerOf());
  server = await serve({ clock: systemClock });
  addWorkerCredential(server.state, "w1", secret);
  client = clientOf(server);
});
afterEach(async () => {
  await server.stop();
  work[Symbol.dispose]();
});

const parts = () => ({ client, files: work.files });
const before = (sha256 = "", not = "") => madeBefore(parts(), work.dir, "output", wanted, { sha256, not }, call);
const keep = (id: string) => keepMade(parts(), work.dir, "output", id);
const place = () => join(work.dir, ".emx2", "artifact-output");

test("nothing was kept: there is none, and EMX2 is not asked", async () => {
  await server.stop();
  expect(await before()).toBeUndefined();
});

test("one that is open is gone on with", async () => {
  const { artifactId } = await client.createArtifact(wanted, call);
  await keep(artifactId);
  expect(await before()).toEqual({ artifactId });
  expect(await before("", artifactId)).toBeUndefined();
});

test("one that is committed counts with the same content, and with no other", async () => {
  const id = addArtifact(server.state, { name: wanted.name, files: [{ path: "a", content: "hello" }] });
  Object.assign(server.state.artifacts.get(id) ?? {}, { sha256: sha256("hello") });
  await keep(id);
  expect(await before(sha256("hello"))).toEqual({ artifactId: id, committed: true });
  expect(await before(sha256("other"))).toBeUndefined();
});

describe("what the job may have written there", () => {
  test("another's artifact is not touched", async () => {
    for (const other of [{ name: "output-12345678" }, { type: "log" as const }]) {
      const { artifactId } = await client.createArtifact({ ...wanted, ...other }, call);
      await keep(artifactId);
      expect(await before()).toBeUndefined();
    }
  });

  test("an id that EMX2 does not know, or that is none", async () => {
    for (const text of ["550e8400-e29b-41d4-a716-446655440000", "../jobs", "", "x".repeat(2_000_000)]) {
      writeFileSync(place(), text);
      expect(await before()).toBeUndefined();
    }
  });

  test("a FIFO, a link, a directory that is closed or gone", async () => {
    Bun.spawnSync(["mkfifo", place()]);
    expect(await before()).toBeUndefined();
    rmSync(place());
    symlinkSync("/etc/hostname", place());
    expect(await before()).toBeUndefined();
    rmSync(join(work.dir, ".emx2"), { recursive: true });
    writeFileSync(join(work.dir, ".emx2"), "");
    expect(await before()).toBeUndefined();
    await keep("a");
  });
});
