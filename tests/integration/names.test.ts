/** What a job may leave in its output directory besides plain files: hard names, links, what is no file, nothing at all. */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { artifact } from "../../src/emulator/submitter.ts";
import { committed, committedInPlace } from "./committed.ts";
import { generations } from "./course.ts";
import { openStage, type Stage } from "./harness.ts";

const testMs = 60_000;
const text = (files: ReadonlyMap<string, Uint8Array>) =>
  Object.fromEntries([...files].map(([path, content]) => [path, new TextDecoder().decode(content)]));
const quoted = (word: string) => `'${word.replaceAll("'", "'\\''")}'`;
const detailOf = (stage: Stage, id: string) => stage.job(id).transitions.at(-1)?.detail ?? "";
const metadataOf = (stage: Stage, id: string | null) =>
  JSON.parse(artifact(stage.state, id ?? "").metadataText ?? "{}");

const hard = [
  ...[
    "a b",
    " lead",
    "trail ",
    "dot.",
    "...",
    "-rf",
    "--",
    "~",
    "*",
    "$(id)",
    "`id`",
    "a&b=c",
    "a+b",
    "semi;v=1",
    "#",
    "?",
  ],
  ...["100%", "%FF", "%2F", "%2e%2e", "back\\slash", "new\nline", "tab\there", "\r", 'it\'s "q"', "<b>", "\u001b[2J"],
  ...["\u00e9", "e\u0301", "\u{1f600}", "\ufeffbom", "\ufffd", "\u202e", "n.json", "sub dir/#/\u00fc?.json", "slurm"],
];
const makesHard = hard.map(
  (name, index) => `mkdir -p "$(dirname ./${quoted(name)})"; printf ${index} >./${quoted(name)}`,
);
const makesOther = `
  printf latin >"$(printf 'caf\\351 10%%.txt')"; printf other >"$(printf 'caf\\350 10%%.txt')"; printf namesake >'caf%E9 10%25.txt'
  mkdir "$(printf 'd\\377')"; printf inner >"$(printf 'd\\377/x')"; printf said >"$(printf 'b\\377.log')"
  ln -s "$(printf 'd\\377')" latest; ln -s latest/x link.txt; ln -s "$HPC_OUTPUT_DIR/n.json" absolute.json
  ln -s ../../../secret secret.txt; ln -s /etc etc; ln -s .. up; ln -s . here; ln -s self self; ln -s gone broken; ln -s /proc/self/environ env
  mkfifo pipe; ${process.execPath} -e 'require("net").createServer().listen("socket", () => process.exit(0))'
  : >empty; mkdir hollow`;
const program = ['cd "$HPC_OUTPUT_DIR"', ...makesHard, makesOther].join("\n");

const arrived = {
  ...Object.fromEntries(hard.map((name, index) => [name, String(index)])),
  ...{ "caf%E9 10%25.txt": "namesake", "%25caf%E9 10%25.txt": "latin", "caf%E8 10%25.txt": "other" },
  ...{ "d%FF/x": "inner", "latest/x": "inner", "link.txt": "inner", "absolute.json": String(hard.indexOf("n.json")) },
  empty: "",
};
const leftOut = ["secret.txt", "etc", "up", "here", "self", "broken", "env", "pipe", "socket", "hollow"];

describe.each(generations)("EMX2 %s", (generation) => {
  test.each([true, false])(
    "what is there arrives byte for byte under its name, what is not for it is told (sealed: %p)",
    async (seals) => {
      await using stage = await openStage({ generation, profiles: { odd: { program, seal_outputs: seals } } });
      const id = stage.submit("odd");
      const daemon = stage.start("run");
      await stage.untilStatus(id, "COMPLETED");
      const { outputArtifactId, logArtifactId } = stage.job(id);
      expect(text(committed(stage, outputArtifactId))).toEqual(arrived);
      expect(text(committed(stage, logArtifactId))["b%FF.log"]).toBe("said");
      expect(metadataOf(stage, outputArtifactId).escaped_names).toEqual({
        count: 3,
        names: ["%25caf%E9 10%25.txt", "caf%E8 10%25.txt", "d%FF/x"],
      });
      expect(metadataOf(stage, logArtifactId).escaped_names).toEqual({ count: 1, names: ["b%FF.log"] });
      const detail = detailOf(stage, id);
      expect(detail).toContain(`; ${leftOut.length} left out of the outputs: `);
      for (const name of leftOut) expect(detail).toContain(`"${name}" (`);
      expect(detail).toContain('"secret.txt" (symbolic link out of the output directory)');
      expect(detail).toContain('"hollow" (empty directory)');
      const said = daemon
        .stderr()
        .split("\n")
        .filter((line) => line.includes(" warn ") && line.includes(id));
      expect(said.filter((line) => line.includes("9 left out of the outputs"))).toHaveLength(1);
      expect(said.filter((line) => line.includes("3 output file(s) whose names EMX2 can not take"))).toHaveLength(1);
      const everything = [...stage.state.artifacts.values()].flatMap(({ files }) => [...files.values()]);
      for (const { content } of everything)
        expect(new TextDecoder().decode(content ?? undefined)).not.toContain(stage.secret);
    },
    testMs,
  );

  test(
    "what stays in its place is told under the same names, and a link leads there by itself",
    async () => {
      const posix = { output_residence: "posix", log_residence: "posix" };
      await using stage = await openStage({ generation, profiles: { odd: { program, ...posix } } });
      const id = stage.submit("odd");
      stage.start("run");
      await stage.untilStatus(id, "COMPLETED");
      const { outputArtifactId, logArtifactId } = stage.job(id);
      expect([...committed(stage, outputArtifactId).keys()].sort()).toEqual(Object.keys(arrived).sort());
      expect(metadataOf(stage, outputArtifactId).escaped_names.count).toBe(3);
      expect(text(committedInPlace(stage, logArtifactId))["b%FF.log"]).toBe("said");
      expect(readFileSync(join(stage.jobsDir, id, "output/link.txt"), "utf8")).toBe("inner");
    },
    testMs,
  );

  test.each(["managed", "posix"])(
    "a name that is refused on the way is percent-escaped, and so is each that might be (%s)",
    async (residence) => {
      const makes = `cd "$HPC_OUTPUT_DIR"; mkdir sub; echo 0 >plain.txt; i=1; for n in 'a;b' 'a b' 'a%20b' 'sub/c;d'; do echo $i >"$n"; i=$((i + 1)); done; echo said >'x;.log'`;
      const profiles = { odd: { program: makes, output_residence: residence } };
      await using stage = await openStage({ generation, profiles });
      stage.around = async (request, answer) =>
        /^(PUT|POST) .*(;|%3B)/i.test(`${request.method} ${request.url}`)
          ? new Response("<html>Bad Request</html>", { status: 400 })
          : answer();
      const id = stage.submit("odd");
      const daemon = stage.start("run");
      await stage.untilStatus(id, "COMPLETED");
      const { outputArtifactId, logArtifactId } = stage.job(id);
      const names = ["a%20b", "a%2520b", "a%3Bb", "plain.txt", "sub/c%3Bd"];
      expect([...committed(stage, outputArtifactId).keys()].sort()).toEqual(names);
      if (residence === "managed")
        expect(text(committed(stage, outputArtifactId))).toMatchObject({ "a%3Bb": "1\n", "a%2520b": "3\n" });
      expect(metadataOf(stage, outputArtifactId).escaped_names.count).toBe(4);
      expect(text(committed(stage, logArtifactId))["x%3B.log"]).toBe("said\n");
      // What the first artifacts had is nowhere twice.
      expect(stage.state.artifacts.size).toBe(2);
      expect(daemon.stderr()).toContain("EMX2 does not take the name of a file");
    },
    testMs,
  );

  test(
    "a hard name does not hinder a file that is too large for a plain PUT of 2026-02",
    async () => {
      const name = 'd/new\nline "q"; \u00e9%2F\r\n.bin';
      const makes = `cd "$HPC_OUTPUT_DIR"; mkdir d; head -c 10000001 /dev/zero >${quoted(name)}; : >'\ufeffbom'`;
      await using stage = await openStage({ generation, profiles: { large: { program: makes } } });
      const id = stage.submit("large");
      stage.start("run");
      await stage.untilStatus(id, "COMPLETED");
      const sizes = [...committed(stage, stage.job(id).outputArtifactId)].map(([path, { length }]) => [path, length]);
      expect(Object.fromEntries(sizes)).toEqual({ [name]: 10_000_001, "\ufeffbom": 0 });
    },
    testMs,
  );
});
