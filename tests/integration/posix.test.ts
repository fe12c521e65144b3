/** Data that stays on the cluster: inputs used where they lie, outputs and logs that EMX2 only knows of. */
import { describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { addArtifact, addJob, artifact } from "../../src/emulator/submitter.ts";
import { committed, committedInPlace } from "./committed.ts";
import { generations } from "./course.ts";
import { openStage, type Stage } from "./harness.ts";

const testMs = 60_000;
const program = `
  echo made >"$HPC_OUTPUT_DIR/made.txt"
  echo said >"$HPC_OUTPUT_DIR/own.log"`;
const copy = 'cp -L "$HPC_INPUT_DIR"/*/*.txt "$HPC_OUTPUT_DIR/"';
const posix = { output_residence: "posix", log_residence: "posix" };

const endOf = (stage: Stage, id: string) => stage.job(id).transitions.at(-1)?.detail ?? "";

async function fails(stage: Stage, id: string, word: string): Promise<void> {
  stage.start("run");
  await stage.untilStatus(id, "FAILED");
  expect(endOf(stage, id)).toContain(word);
  expect(stage.ledger()).toEqual([]);
}

describe("what stays", () => {
  const mixed = [
    ["outputs stay, logs are uploaded", { output_residence: "posix" }, committedInPlace, committed],
    ["logs stay, outputs are uploaded", { log_residence: "posix" }, committed, committedInPlace],
  ] as const;
  test.each(mixed)(
    "%s",
    async (_, keys, outputs, logs) => {
      const profiles = { mixed: { program, ...keys, posix_output_dir: "results" } };
      await using stage = await openStage({ profiles, directories: ["results"] });
      const id = stage.submit("mixed");
      stage.start("run");
      await stage.untilStatus(id, "COMPLETED");
      const { outputArtifactId, logArtifactId } = stage.job(id);
      expect([...outputs(stage, outputArtifactId).keys()]).toEqual(["made.txt"]);
      expect([...logs(stage, logArtifactId).keys()]).toContain("own.log");
      const kept = "output_residence" in keys ? ["output"] : ["logs"];
      expect(readdirSync(join(stage.dir, "results", id))).toEqual(kept);
    },
    testMs,
  );

  test(
    "in the job directory it outlives all the rest of it",
    async () => {
      const profiles = { mixed: { program, ...posix } };
      await using stage = await openStage({ profiles, worker: { keep_job_dirs: "0s" } });
      const id = stage.submit("mixed", { files: [{ path: "a", content: "a" }] });
      stage.start("run");
      await stage.untilStatus(id, "COMPLETED");
      const dir = join(stage.jobsDir, id);
      await stage.until("only that is left", () => !existsSync(join(dir, ".emx2")) || undefined);
      expect(readdirSync(dir).sort()).toEqual(["logs", "output"]);
      const { outputArtifactId, logArtifactId } = stage.job(id);
      expect([...committedInPlace(stage, outputArtifactId).keys()]).toEqual(["made.txt"]);
      expect([...committedInPlace(stage, logArtifactId).keys()]).toContain("own.log");
      expect(artifact(stage.state, outputArtifactId ?? "").contentUrl).toBe(`file://${dir}/output`);
    },
    testMs,
  );

  test(
    "stays where it was to stay when the job was written, whatever the configuration says later",
    async () => {
      const waits = { waits: { program: `${program}\nwhile [ ! -e go ]; do sleep 0.05; done`, ...posix } };
      await using stage = await openStage({ profiles: waits });
      const id = stage.submit("waits");
      const first = stage.start("run");
      await stage.untilStatus(id, "STARTED");
      first.kill();
      await first.ended();
      const later = JSON.parse(readFileSync(stage.configFile, "utf8"));
      mkdirSync(join(stage.dir, "results"));
      later.profiles["waits/default"].output_residence = "managed";
      later.profiles["waits/default"].posix_output_dir = "results";
      writeFileSync(stage.configFile, JSON.stringify(later));
      writeFileSync(join(stage.jobsDir, id, "work", "go"), "");
      stage.start("run");
      await stage.untilStatus(id, "COMPLETED");
      const { outputArtifactId, logArtifactId } = stage.job(id);
      expect([...committedInPlace(stage, outputArtifactId).keys()]).toEqual(["made.txt"]);
      expect(artifact(stage.state, logArtifactId ?? "").contentUrl).toBe(`file://${stage.jobsDir}/${id}/logs`);
      expect(readdirSync(join(stage.dir, "results"))).toEqual([]);
    },
    testMs,
  );

  test(
    "goes to no place that somebody else has made for it",
    async () => {
      const profiles = { posix: { program, ...posix, posix_output_dir: "results" } };
      await using stage = await openStage({ profiles, directories: ["results", "precious"] });
      const id = stage.submit("posix");
      symlinkSync("../precious", join(stage.dir, "results", id));
      await fails(stage, id, "a symbolic link");
      expect(readdirSync(join(stage.dir, "precious"))).toEqual([]);
    },
    testMs,
  );

  test.each(generations)(
    "is told to EMX2 %s file by file, also of 1,200 files; none at all is no artifact",
    async (generation) => {
      const many =
        'i=0; while [ $i -lt 1200 ]; do echo $i >"$HPC_OUTPUT_DIR/f$i"; i=$((i+1)); done; ln -s f1 "$HPC_OUTPUT_DIR/link"';
      const profiles = { many: { program: many, ...posix }, none: { program: "true", ...posix } };
      await using stage = await openStage({ profiles, generation });
      const [all, none] = [stage.submit("many"), stage.submit("none")];
      stage.start("run");
      await stage.untilStatus(none, "COMPLETED");
      expect(stage.job(none).outputArtifactId).toBeNull();
      await stage.untilStatus(all, "COMPLETED", 50_000);
      expect(committedInPlace(stage, stage.job(all).outputArtifactId).size).toBe(1_201);
    },
    testMs,
  );
});

describe.each(generations)("an input that lies on the cluster, EMX2 %s", (generation) => {
  const options = { generation, profiles: { copy: { program: copy }, posix: { program, ...posix } } };
  const roots = { ...options, apptainer: { posix_roots: ["data"] }, directories: ["data"] };
  const files = [{ path: "a.txt", content: "the data" }];
  const put = (stage: Stage, content: string) => {
    mkdirSync(join(stage.dir, "data/set"), { recursive: true });
    writeFileSync(join(stage.dir, "data/set/a.txt"), content);
    return stage.submit("copy", { posix: join(stage.dir, "data/set"), files });
  };

  test(
    "may be what an earlier job left in its place",
    async () => {
      await using stage = await openStage(options);
      const first = stage.submit("posix");
      stage.start("run");
      await stage.untilStatus(first, "COMPLETED");
      const inputs = [stage.job(first).outputArtifactId];
      const second = addJob(stage.state, { processor: "copy", profile: "default", inputs });
      await stage.untilStatus(second, "COMPLETED");
      const copied = committed(stage, stage.job(second).outputArtifactId);
      expect(new TextDecoder().decode(copied.get("made.txt"))).toBe("made\n");
    },
    testMs,
  );

  test(
    "may be a single file",
    async () => {
      await using stage = await openStage({
        ...roots,
        profiles: { copy: { program: 'cat "$HPC_INPUT_DIR"/* >"$HPC_OUTPUT_DIR/copy"' } },
      });
      writeFileSync(join(stage.dir, "data/one file.bin"), "the data");
      const id = stage.submit("copy", { posix: join(stage.dir, "data/one file.bin"), files });
      stage.start("run");
      await stage.untilStatus(id, "COMPLETED");
      const copied = committed(stage, stage.job(id).outputArtifactId);
      expect(new TextDecoder().decode(copied.get("copy"))).toBe("the data");
    },
    testMs,
  );

  test(
    "that is not what EMX2 was told fails the job before anything is run",
    async () => {
      await using stage = await openStage(roots);
      await fails(stage, put(stage, "the dada"), "input_hash_mismatch");
    },
    testMs,
  );

  test(
    "that is not there is waited for, named in the log, and the job goes on once it shows",
    async () => {
      await using stage = await openStage(roots);
      const id = put(stage, "the data");
      renameSync(join(stage.dir, "data/set"), join(stage.dir, "away"));
      const run = stage.start("run");
      await stage.until("it is said", () =>
        run.stderr().includes(`data/set\\" does not exist: it is looked for again`),
      );
      expect(stage.job(id).status).toBe("CLAIMED");
      renameSync(join(stage.dir, "away"), join(stage.dir, "data/set"));
      await stage.untilStatus(id, "COMPLETED");
    },
    testMs,
  );

  test(
    "where none may lie fails the job, naming the key that allows it, as does a link that leads there",
    async () => {
      await using stage = await openStage(roots);
      mkdirSync(join(stage.dir, "elsewhere"));
      writeFileSync(join(stage.dir, "elsewhere/a.txt"), "the data");
      const straight = stage.submit("copy", { posix: join(stage.dir, "elsewhere"), files });
      const around = put(stage, "");
      rmSync(join(stage.dir, "data/set/a.txt"));
      symlinkSync(join(stage.dir, "elsewhere/a.txt"), join(stage.dir, "data/set/a.txt"));
      await fails(stage, straight, "apptainer.posix_roots");
      await stage.untilStatus(around, "FAILED");
      expect(endOf(stage, around)).toContain("or what it leads to, is in none of the directories");
      expect(endOf(stage, around)).not.toContain("elsewhere");
      expect(stage.ledger()).toEqual([]);
    },
    testMs,
  );
});

test(
  "an input of 2,300 files arrives whole",
  async () => {
    const count = { program: 'ls "$HPC_INPUT_DIR"/* | wc -l >"$HPC_OUTPUT_DIR/count"' };
    await using stage = await openStage({ profiles: { count } });
    const files = Array.from({ length: 2_300 }, (_, index) => ({ path: `f${index}`, content: String(index) }));
    const inputs = [addArtifact(stage.state, { files })];
    const id = addJob(stage.state, { processor: "count", profile: "default", inputs });
    stage.start("run");
    await stage.untilStatus(id, "COMPLETED", 50_000);
    const counted = committed(stage, stage.job(id).outputArtifactId);
    expect(new TextDecoder().decode(counted.get("count")).trim()).toBe("2300");
  },
  testMs,
);
