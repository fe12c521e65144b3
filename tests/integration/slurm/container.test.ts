/** What a job in an image gets, sees and leaves: all at once under one daemon, as an ordinary user, in real containers. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { artifact } from "../../../src/emulator/submitter.ts";
import { committedInPlace } from "../committed.ts";
import { argsOf, bare, onImages, openImageStage, shellOf, submitProgram, tool } from "./images.ts";
import { type SlurmStage, slurmBoundMs, textOf } from "./real-slurm.ts";

const profiles = {
  shell: shellOf,
  runscript: { sif_image: tool },
  free: { sif_image: tool, allow_command: true },
  posix: { ...shellOf, output_residence: "posix", posix_output_dir: "results" },
  host: { ...shellOf, isolation: "host" },
  options: { ...shellOf, apptainer_args: ["--env=FROM_OPERATOR=a b", "--hostname=elsewhere", "--no-mount=cwd"] },
  absent: { sif_image: "/nowhere/at/all.sif" },
  bare: { sif_image: bare },
  mistaken: { sif_image: tool, container_entrypoint: "/opt/nothing" },
  unbound: { ...shellOf, apptainer_args: ["--bind=/nowhere/at/all:/data"] },
};

onImages("a job in an image", () => {
  let stage: SlurmStage;
  /** The operator's, for every job. */
  let shared = "";
  beforeAll(async () => {
    shared = mkdtempSync("/tmp/emx2-shared-");
    chmodSync(shared, 0o777);
    writeFileSync(join(shared, "reference"), "reference\n");
    const apptainer = { posix_roots: ["data"], bind_paths: [`${shared}:/shared`, `${shared}:/writable:rw`] };
    stage = await openImageStage({ profiles, apptainer, directories: ["data", "results"] });
    stage.start("run");
  });
  afterAll(async () => {
    await stage[Symbol.asyncDispose]();
    rmSync(shared, { recursive: true });
  });

  const completed = async (id: string) => {
    await stage.untilStatus(id, "COMPLETED", slurmBoundMs);
    return stage.output(id);
  };
  const failed = async (id: string) => {
    await stage.untilStatus(id, "FAILED", slurmBoundMs);
    expect(stage.job(id).outputArtifactId).toBeNull();
    return stage.job(id).transitions.at(-1)?.detail ?? "";
  };
  const input = { files: [{ path: "raw data/in put.txt", content: "hello, input\n" }] };

  test.concurrent("reads its input, writes its output, and leaves what it says among the logs", async () => {
    const program = [
      'cat /input/*/"raw data"/*.txt >"/output/the copy"',
      'mkdir /output/deep && echo deep >/output/deep/file && ln -s "/output/the copy" /output/deep/absolute',
      'env | grep ^HPC_ | sort >/output/env && cmp -s /work/parameters.json "$HPC_PARAMETERS_FILE" && pwd >/output/pwd',
      "echo to stdout; echo to stderr >&2; echo own >/output/own.log",
    ].join("\n");
    const id = submitProgram(stage, "shell", program, input);
    const files = await completed(id);
    expect([...files.keys()].sort()).toEqual(["deep/absolute", "deep/file", "env", "pwd", "the copy"]);
    for (const path of ["the copy", "deep/absolute"]) expect(textOf(files, path)).toBe("hello, input\n");
    expect(textOf(files, "pwd")).toBe("/work\n");
    expect(textOf(files, "env")).toBe(
      [
        ...[`HPC_INPUT_DIR=/input`, `HPC_JOB_ID=${id}`, `HPC_OUTPUT_DIR=/output`],
        ...[`HPC_PARAMETERS=${argsOf(program)}`, "HPC_PARAMETERS_FILE=/work/parameters.json", "HPC_WORK_DIR=/work", ""],
      ].join("\n"),
    );
    const log = stage.log(id);
    const slurm = `slurm-${stage.job(id).slurmJobId}`;
    expect([...log.keys()].sort()).toEqual([
      ...["container-stderr.log", "container-stdout.log", "own.log", `${slurm}.err`, `${slurm}.out`],
    ]);
    expect([textOf(log, "container-stdout.log"), textOf(log, "container-stderr.log")]).toEqual([
      "to stdout\n",
      "to stderr\n",
    ]);
  });

  test.concurrent("reads posix input where its artifact's id is, and its posix output stays where it is", async () => {
    const place = join(stage.dir, "data", "set, 1:a");
    mkdirSync(place);
    writeFileSync(join(place, "a.txt"), "in place\n");
    const program = "cat /input/*/a.txt >/output/copy; ln -s /output/copy /output/link; ls /input >/output/ids";
    const files = [{ path: "a.txt", content: "in place\n" }];
    const id = submitProgram(stage, "posix", program, { files, posix: place });
    await stage.untilStatus(id, "COMPLETED", slurmBoundMs);
    const output = committedInPlace(stage, stage.job(id).outputArtifactId);
    expect(artifact(stage.state, stage.job(id).outputArtifactId ?? "").contentUrl).toEndWith(`/results/${id}/output`);
    expect([...output.keys()].sort()).toEqual(["copy", "ids"]);
    expect(stage.job(id).transitions.at(-1)?.detail).toContain('"link" (symbolic link out of the output directory)');
    expect(textOf(output, "copy")).toBe("in place\n");
    expect(stage.job(id).inputs).toEqual([textOf(output, "ids").trim()]);
  });

  test.concurrent("can change neither kind of input", async () => {
    const place = join(stage.dir, "data", "kept");
    mkdirSync(place);
    writeFileSync(join(place, "a.txt"), "kept\n");
    const tries = "echo gone >/input/*/a.txt || echo x >/input/new || rm -rf /input/* || exit 5";
    const files = [{ path: "a.txt", content: "kept\n" }];
    for (const id of [
      submitProgram(stage, "shell", tries, { files, posix: place }),
      submitProgram(stage, "shell", tries, { files }),
    ]) {
      const detail = await failed(id);
      expect(detail).toStartWith("slurm_state=FAILED; exit_code=5:0; ");
      expect(detail).toContain("Read-only file system");
    }
    expect(readFileSync(join(place, "a.txt"), "utf8")).toBe("kept\n");
    expect(readdirSync(place)).toEqual(["a.txt"]);
  });

  test.concurrent("runs its image's runscript with its arguments, and its exit code is the program's", async () => {
    const output = await completed(submitProgram(stage, "runscript", "echo ran >/output/result"));
    expect(textOf(output, "result")).toBe("ran\n");
    expect(await failed(submitProgram(stage, "runscript", "echo no such sample >&2; exit 7"))).toMatch(
      /^slurm_state=FAILED; exit_code=7:0; .*\nlast lines of stderr:\nno such sample$/s,
    );
  });

  test.concurrent("runs a command of its own where the profile allows it", async () => {
    const command = `printf '%s\\n' "$0" "$@" '$HOME' >/output/words`;
    const ask = (processor: string) =>
      stage.submit(processor, { parametersText: JSON.stringify({ command, args: ["a b"] }) });
    expect(textOf(await completed(ask("free")), "words")).toBe("sh\na b\n$HOME\n");
    expect(await failed(ask("runscript"))).toContain("parameters.command is not allowed");
  });

  test.concurrent("sees nothing of its surroundings, and no variable of Slurm's", async () => {
    const other = submitProgram(stage, "shell", "echo neighbour >/work/secret; sleep 2");
    await stage.untilStatus(other, "STARTED", slurmBoundMs);
    const control = ["", "/lease.a1", "/command.sh", "/environment.sh"].map((path) => `.emx2${path}`);
    const paths = [
      ...["secret", "config.yaml", "state", "jobs", "data"].map((path) => join(stage.dir, path)),
      ...["output", "work/secret", ".emx2"].map((path) => join(stage.jobsDir, other, path)),
      ...control.flatMap((path) => [
        join(stage.jobsDir, `$HPC_JOB_ID/${path}`),
        `/work/../${path}`,
        `/output/../${path}`,
      ]),
      ...["$HOME/.ssh", "/root/.bashrc", "/etc/shadow", "/proc/1/root/etc/shadow", "/proc/self/fd/1/../command.sh"],
    ];
    const program = [
      ...paths.map((path) => `[ ! -e "${path}" ] || echo "${path}" >>/output/visible`),
      'ls -A /work /output /tmp /var/tmp "$HOME" >/output/around',
      "cat /proc/*/environ | tr '\\0' '\\n' | grep -E '^(SLURM|SBATCH|EMX2_RUN)' >>/output/visible || true",
      "ls /proc | grep -c '^[0-9]' >/output/processes",
      "ls /proc/self/fd | wc -l >/output/descriptors; find / -xdev -name job.sh -o -name secret >>/output/visible",
    ].join("\n");
    const output = await completed(submitProgram(stage, "shell", program));
    expect([...output.keys()].sort()).toEqual(["around", "descriptors", "processes", "visible"]);
    expect(textOf(output, "visible")).toBe("");
    expect(
      textOf(output, "around")
        .split("\n")
        .filter((line) => !/^$|:$/.test(line)),
    ).toEqual([...["around", "parameters.json"]]);
    // Its own shell, what starts it, and the program that counts.
    expect(Number(textOf(output, "processes"))).toBeLessThanOrEqual(4);
    // stdin, stdout, stderr and the directory that is listed.
    expect(textOf(output, "descriptors")).toBe("4\n");
    await stage.untilStatus(other, "COMPLETED", slurmBoundMs);
  });

  test.concurrent("has a /tmp and a home of its own on disk: 200 MB fit into each", async () => {
    const fill = (directory: string) =>
      `head -c 200000000 /dev/zero >"${directory}/big"; stat -c %s "${directory}/big" >>/output/sizes`;
    const output = await completed(
      submitProgram(stage, "shell", `${fill("/tmp")}\n${fill("$HOME")}\n${fill("/var/tmp")}`),
    );
    expect(textOf(output, "sizes")).toBe("200000000\n".repeat(3));
  });

  test.concurrent("sees what the operator binds, read-only unless he says otherwise, and gets his options", async () => {
    const program = [
      "cat /shared/reference >/output/reference; ! echo x >/shared/new",
      "echo written >/writable/new; hostname >/output/host; printf '%s' \"$FROM_OPERATOR\" >/output/variable",
    ].join("\n");
    const output = await completed(submitProgram(stage, "options", program));
    expect(textOf(output, "reference")).toBe("reference\n");
    expect(readFileSync(join(shared, "new"), "utf8")).toBe("written\n");
    expect([textOf(output, "host"), textOf(output, "variable")]).toEqual(["elsewhere\n", "a b"]);
  });

  test.concurrent("sees the host's home, /tmp and variables with isolation: host", async () => {
    const program = `ls ${stage.dir} >/output/seen; echo "$SLURM_JOB_ID" >/output/id; pwd >/output/pwd; echo x >/output/x`;
    const id = submitProgram(stage, "host", program);
    const output = await completed(id);
    expect(textOf(output, "seen")).toContain("config.yaml\n");
    expect([textOf(output, "id"), textOf(output, "pwd")]).toEqual([`${stage.job(id).slurmJobId}\n`, "/work\n"]);
  });

  test.concurrent("waits where its image is not there, and is never submitted", async () => {
    const id = submitProgram(stage, "absent", "echo never >/output/never");
    const why = "the image /nowhere/at/all.sif can not be read: it is not there";
    const held = async () => (await stage.start("status", "--json").ended()).stdout.includes(why);
    await stage.until("the profile is held", held, slurmBoundMs);
    expect(stage.job(id)).toMatchObject({ status: "CLAIMED", slurmJobId: null });
    expect(stage.slurmJobs(id)).toEqual([]);
  });

  test.concurrent.each([
    ["the program is not in it", "mistaken", "stat /opt/nothing: no such file or directory"],
    ["a bind's source is not there", "unbound", "mount source /nowhere/at/all doesn't exist"],
    ["it has no runscript", "bare", "the image has no runscript: name its program in the profile"],
  ])("says why it could not begin where %s", async (_, processor, said) => {
    const id = submitProgram(stage, processor, "echo never >/output/never");
    const detail = await failed(id);
    expect(detail).toStartWith("slurm_state=FAILED; exit_code=255:0; ");
    expect(detail).toContain(said);
    expect(textOf(stage.log(id), "container-stderr.log")).toContain(said);
  });
});
