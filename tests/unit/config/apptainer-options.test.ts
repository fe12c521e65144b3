import { describe, expect, test } from "bun:test";
import { apptainerArgFault } from "../../../src/config/apptainer-options.ts";

describe("entries of apptainer_args", () => {
  test.each([
    ...["--no-mount=cwd", "--env=A=b", "--env-file=/etc/e", "--overlay=/o.img:ro", "--dns=1.1.1.1", "--hostname=h"],
    ...["--cleanenv", "-e", "--fakeroot", "-f", "--writable-tmpfs", "--no-home", "--nvccli", "--userns=false", "-p"],
    ...["--bind=/nfs/work:/data", "-B/work:/data", "-B=/data", "--scratch=/scratch", "--security=seccomp:/s.json"],
    "--mount=type=bind,source=/output,destination=/data",
  ])("%s is the operator's", (entry) => expect(apptainerArgFault(entry)).toBeUndefined());

  test.each([
    ["--containall", "isolation"],
    ["-C", "isolation"],
    ["-c", "isolation"],
    ["--contain=true", "isolation"],
    ["--workdir=/scratch", "/tmp of the job's own"],
    ["-W/scratch", "/tmp of the job's own"],
    ["--home=/nfs/home", "a home"],
    ["-H=/nfs/home", "a home"],
    ["--pwd=/data", "/work"],
    ["--cwd=/data", "/work"],
    ["--nv", "gpu_runtime"],
    ["--rocm", "gpu_runtime"],
    ["--no-eval=false", "daemon"],
    ["-w", "--writable-tmpfs"],
    ["--help", "nothing would be run"],
  ])("%s is the daemon's: %s", (entry, why) => {
    expect(apptainerArgFault(entry)).toStartWith("must not set --");
    expect(apptainerArgFault(entry)).toContain(why);
  });

  test.each(["/images/other.sif", "", "-", "--", "--bind /a:/b", "-eC", "-ec", "-pB/a", "nv", "-x", "--=x"])(
    "%j is not one option",
    (entry) => expect(apptainerArgFault(entry)).toStartWith("must be one option an entry"),
  );

  // Apptainer would take the next word, the image, for the value.
  test.each(["--bind", "-B", "--env", "--no-mount", "--some-new-option"])("%s lacks its value", (entry) => {
    expect(apptainerArgFault(entry)).toStartWith("must be with its value");
  });

  test.each([
    ["--bind=/a:/output", "/output"],
    ["-B/a:/b,/c:/input/d:ro", "/input"],
    ["--bind=/work", "/work"],
    ["--mount=type=bind,source=/a,dst=/work/x", "/work"],
    ['--mount=type=bind,"source=/a,b","destination=/output"', "/output"],
    ["--scratch=/s,/work", "/work"],
  ])("%s would cover %s", (entry, mount) => {
    expect(apptainerArgFault(entry)).toBe(`must not cover ${mount}, where a job finds its own files`);
  });
});
