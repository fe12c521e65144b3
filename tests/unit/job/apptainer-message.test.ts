/** Last words of Apptainer 1.4.5, each provoked on a real node; the paths of programs are shortened. */
import { describe, expect, test } from "bun:test";
import { apptainerFault } from "../../../src/job/apptainer-message.ts";

const session = "/usr/var/lib/apptainer/mnt/session";
const image = "While checking container encryption: could not open image";
const mounting = "container creation failed: mount hook function failure: mount";

const seen: readonly [said: string, cause: string, who: string, hint: RegExp][] = [
  [
    `FATAL:   ${image} /nowhere.sif: failed to retrieve path for /nowhere.sif: lstat /nowhere.sif: no such file or directory`,
    ...(["the image /nowhere.sif is not there on the node", "operator", /sif_image/] as const),
  ],
  [
    `FATAL:   ${image} /i/secret.sif: /i/secret.sif is not readable by the current user, check permissions`,
    ...(["the image /i/secret.sif can not be read by this user on the node", "operator", /readable/] as const),
  ],
  [
    `FATAL:   ${image} /i/arm.sif: the image's architecture (arm64) could not run on the host's (amd64)`,
    ...(["the image is for another architecture than the node's (arm64)", "operator", /--constraint/] as const),
  ],
  [
    `FATAL:   ${image} /i/run.sh: image format not recognized`,
    ...(["/i/run.sh is no image that Apptainer can read, or not a whole one", "operator", /again/] as const),
  ],
  [
    `FATAL:   ${image} /i/cut.sif: reading descriptors: unexpected EOF`,
    ...(["/i/cut.sif is no image that Apptainer can read, or not a whole one", "operator", /again/] as const),
  ],
  [
    "FATAL:   container creation failed: image driver mount failure: image driver squashfuse_ll instance exited with error: squashfuse_ll exited: Something went wrong trying to read the squashfs image.",
    ...(["the image on the node is not a whole one", "operator", /again/] as const),
  ],
  [
    "\u001b[91mERROR  : Failed to create user namespace: not allowed to create user namespace",
    "user namespaces are not to be had on the node (Failed to create user namespace: not allowed to create user namespace)",
    ...(["site", /max_user_namespaces/] as const),
  ],
  [
    "FATAL:   container creation failed: image driver mount failure: image driver squashfuse_ll instance exited with error: squashfuse_ll exited: fuse: failed to open /dev/fuse: Permission denied",
    ...(["images can not be mounted on the node: /dev/fuse: Permission denied", "site", /0666/] as const),
  ],
  [
    "FATAL:   while extracting /i/tool.sif: root filesystem extraction failed: failed to copy content in staging file: write /small/rootfs-3252329153/archive-1557236394: no space left on device",
    ...([
      "there is no room in the directory where Apptainer unpacks images on the node",
      "operator",
      /image_tmp_dir/,
    ] as const),
  ],
  [
    "FATAL:   while extracting /i/tool.sif: could not create temporary sandbox: stat /nowhere: no such file or directory",
    "the directory where Apptainer unpacks images can not be used on the node: /nowhere",
    ...(["operator", /image_tmp_dir/] as const),
  ],
  [
    "FATAL:   while extracting /i/tool.sif: could not create temporary sandbox: mkdir /root/rootfs-2182773876: permission denied",
    "the directory where Apptainer unpacks images can not be used on the node: /root/rootfs-2182773876",
    ...(["operator", /image_tmp_dir/] as const),
  ],
  [
    `FATAL:   ${mounting} /nowhere->/x error: while mounting /nowhere: mount source /nowhere doesn't exist`,
    ...(["/nowhere, which is to be bound, is not there on the node", "operator", /bind_paths/] as const),
  ],
  [
    `FATAL:   ${mounting} /root/x->/x error: while mounting /root/x: while getting stat for /root/x: stat /root/x: permission denied`,
    ...(["/root/x, which is to be bound, is closed to this user on the node", "operator", /open it/] as const),
  ],
  [
    `FATAL:   ${mounting} ${session}/dev->/dev error: while mounting ${session}/dev: destination /dev doesn't exist in container`,
    ...(["the image has no /dev to mount at, and none can be made", "operator", /overlay/] as const),
  ],
  ["FATAL:   stat /opt/none: no such file or directory", "the program is not in the image", "operator", /entrypoint/],
  ['FATAL:   "none": executable file not found in $PATH', "the program is not in the image", "operator", /entrypoint/],
  [
    "FATAL:   exec /opt/badsh failed: fork/exec /opt/badsh: no such file or directory",
    "/opt/badsh can not be started in the image: its interpreter or a shared library is missing there",
    ...(["operator", /complete/] as const),
  ],
  [
    "FATAL:   permission denied",
    "container_entrypoint names what can not be executed in the image",
    "operator",
    /executable/,
  ],
  [
    "FATAL:   is a directory",
    "container_entrypoint names what can not be executed in the image",
    "operator",
    /executable/,
  ],
  [
    "FATAL:   while loading overlay images: failed to open overlay image /nowhere.img: failed to retrieve path for /nowhere.img: lstat /nowhere.img: no such file or directory",
    "Apptainer could not start the container: while loading overlay images: failed to open overlay image /nowhere.img: failed to retrieve path for /nowhere.img: lstat /nowhere.img: no such file or directory",
    ...(["operator", /by hand/] as const),
  ],
  [
    "job.sh: the image has no runscript: name its program in the profile (container_entrypoint)",
    ...([
      "the image has no runscript",
      "operator",
      /^name its program in the profile \(container_entrypoint\)$/,
    ] as const),
  ],
  [
    "job.sh: singularity version 3.8.7-1.el8 has no --mount: Apptainer 1.0 or SingularityCE 3.9 is needed, better 1.1 or 3.10 (on n1)",
    ...([
      "singularity version 3.8.7-1.el8 has no --mount",
      "operator",
      /^Apptainer 1\.0 .* better 1\.1 or 3\.10$/,
    ] as const),
  ],
  [
    "job.sh: /i/tool.sif can not be read, and its sha256 not be checked (on n1)",
    ...(["/i/tool.sif can not be read, and its sha256 not be checked", "operator", /on that node/] as const),
  ],
  [
    "job.sh: what the profile's prelude has left ended the run with exit code 2 (on n1)",
    ...(["what the profile's prelude has left ended the run with exit code 2", "operator", /the prelude/] as const),
  ],
  [
    "job.sh: the profile's prelude ended the run with exit code 1 (on n1)",
    ...(["the profile's prelude ended the run with exit code 1", "operator", /correct the prelude/] as const),
  ],
  [
    "job.sh: apptainer is not found: install it, correct apptainer.command, or load it in the profile's prelude (on n1)",
    ...(["apptainer is not found", "operator", /^install it, .* prelude$/] as const),
  ],
];

describe("Apptainer's last words", () => {
  test.each(seen)("%s", (said, cause, who, hint) => {
    const before = [
      "WARNING: passwd file doesn't exist in container, not updating",
      "FATAL:   stat /of/a/run/before: no such file or directory",
    ];
    expect(apptainerFault(255, [...before, said])).toEqual({
      cause,
      who: who as "site",
      hint: expect.stringMatching(hint),
    });
  });

  test("may come before the help on an unknown option, and with exit code 1", () => {
    const help = ["", "Options for exec command:", "", "      --add-caps string   a capability list to add"];
    const said = ['Error for command "exec": unknown flag: --bogus', ...help];
    expect(apptainerFault(1, said)?.cause).toBe("this version of Apptainer does not know --bogus");
    expect(apptainerFault(1, ["\u001b[91mERROR  : Failed to create user namespace: x", "\u001b[0m"])?.who).toBe("site");
  });

  test("are none of a program's, which ends as it likes and may say anything", () => {
    expect(apptainerFault(0, ["FATAL:   permission denied"])).toBeUndefined();
    expect(apptainerFault(7, ["FATAL:   permission denied"])).toBeUndefined();
    expect(apptainerFault(255, ["my own words", "permission denied"])).toBeUndefined();
    expect(apptainerFault(255, ["ERROR: died at line 7", "FATAL: died at line 7"])).toBeUndefined();
    expect(apptainerFault(255, [])).toBeUndefined();
    expect(apptainerFault(undefined, ["FATAL:   permission denied"])).toBeUndefined();
    expect(apptainerFault(1, ["ERROR: my own sample is bad"])).toBeUndefined();
  });
});
