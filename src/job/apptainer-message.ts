/**
 * Why a container did not begin, from what Apptainer (or SingularityCE, or `container.sh`) said of it last. A program in a
 * container can say the same and exit alike: this explains an end that other evidence has established, and decides none.
 * The messages are those of Apptainer 1.4.5, seen in tests/unit/job/apptainer-message.test.ts.
 */

export interface ApptainerFault {
  /** In a few words. */
  readonly cause: string;
  /** Who can do something about it: whoever configures this worker, or whoever runs the nodes. */
  readonly who: "operator" | "site";
  /** What. */
  readonly hint: string;
}

/** Its own exit code; 1 where its starter fails before anything is set up, or it does not know an option. */
const ownExitCodes: readonly (number | undefined)[] = [255, 1];

/** `stderr`: the last lines of the run's stderr, some hundred: help of that length follows on an unknown option. */
export function apptainerFault(exitCode: number | undefined, stderr: readonly string[]): ApptainerFault | undefined {
  if (!ownExitCodes.includes(exitCode)) return undefined;
  const said = stderr.findLast((line) => ownWords.test(line));
  const message = said?.replace(ownWords, "").trim();
  if (message === undefined) return undefined;
  for (const { words, ...rule } of rules) {
    const match = words.exec(message);
    const { what = "", advice } = match?.groups ?? {};
    if (match) return { ...rule, cause: rule.cause(what), ...(advice && { hint: advice }) };
  }
  // The starter is of few words, and a program's own 1 is the usual end of programs.
  if (exitCode !== 255) return undefined;
  return { cause: `Apptainer could not start the container: ${message}`, ...byHand };
}

/** As it spaces them, unlike most programs; in colour where the starter writes them. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: it is what Apptainer writes
const ownWords = /^(\u001b\[\d*m)*(FATAL: {3}|ERROR {2}: |Error for command "\w+": |job\.sh: )/;

const byHand = {
  who: "operator",
  hint: "run the image by hand on that node, as .emx2/command.sh in the job directory does (`try --keep` leaves one)",
} as const;

interface Rule extends Omit<ApptainerFault, "cause"> {
  readonly words: RegExp;
  readonly cause: (what: string) => string;
}

const operator = { who: "operator" } as const;
const site = { who: "site" } as const;

/** From top to bottom, the first that applies. */
const rules: readonly Rule[] = [
  {
    ...{ ...operator, words: /could not open image (?<what>.+?): .*no such file or directory/ },
    cause: (image) => `the image ${image} is not there on the node`,
    hint: "correct sif_image, or put the image where the compute nodes see it",
  },
  {
    ...{ ...operator, words: /could not open image (?<what>.+?): .*(not readable by|permission denied)/ },
    cause: (image) => `the image ${image} can not be read by this user on the node`,
    hint: "have its owner make it readable, and the way to it passable",
  },
  {
    ...{
      ...operator,
      words: /the image's architecture \((?<what>[^)]*)\) could not run|image targets '/,
    },
    cause: (architecture) =>
      `the image is for another architecture than the node's${architecture && ` (${architecture})`}`,
    hint: "build it for the nodes of this partition, or choose nodes that fit it (--constraint in sbatch_args)",
  },
  {
    ...{ ...operator, words: /could not open image (?<what>.+?): / },
    cause: (image) => `${image} is no image that Apptainer can read, or not a whole one`,
    hint: "build or copy it again",
  },
  {
    ...{ ...operator, words: /trying to read the squashfs image/ },
    cause: () => "the image on the node is not a whole one",
    hint: "build or copy it again",
  },
  {
    ...{ ...site, words: /(?<what>[Ff]ailed to create user namespace.*|user namespaces? (is|are) .*)/ },
    cause: (said) => `user namespaces are not to be had on the node (${said})`,
    hint: "the site can allow them (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone), or install Apptainer with setuid",
  },
  {
    ...{ ...site, words: /fuse: .*\/dev\/fuse: (?<what>.*)/ },
    cause: (said) => `images can not be mounted on the node: /dev/fuse: ${said}`,
    hint: "/dev/fuse has to be there with mode 0666, and the fuse module to be loaded",
  },
  {
    ...{
      ...operator,
      words:
        /(?<what>(while extracting|failed to copy|write |while creating|mkdir ).*)(no space left on device|disk quota exceeded)/,
    },
    cause: () => "there is no room in the directory where Apptainer unpacks images on the node",
    hint: "set apptainer.image_tmp_dir and cache_dir to a local directory with room, or have squashfuse installed, which unpacks nothing",
  },
  {
    ...{ ...operator, words: /could not create temporary sandbox: (stat|mkdir) (?<what>.+?): / },
    cause: (directory) => `the directory where Apptainer unpacks images can not be used on the node: ${directory}`,
    hint: "correct apptainer.image_tmp_dir",
  },
  {
    ...{ ...operator, words: /mount source (?<what>.+) doesn't exist/ },
    cause: (source) => `${source}, which is to be bound, is not there on the node`,
    hint: "correct apptainer.bind_paths or apptainer_args, or choose nodes that have it",
  },
  {
    ...{ ...operator, words: /while getting stat for (?<what>.+?): .*permission denied/ },
    cause: (source) => `${source}, which is to be bound, is closed to this user on the node`,
    hint: "have its owner open it, or take it out of apptainer.bind_paths",
  },
  {
    ...{ ...operator, words: /destination (?<what>.+) doesn't exist in container/ },
    cause: (destination) => `the image has no ${destination} to mount at, and none can be made`,
    hint: "make the directory in the image; with overlay or underlay allowed in apptainer.conf it is made by itself",
  },
  {
    ...{ ...operator, words: /^stat (?<what>.+): no such file or directory$|".+": executable file not found/ },
    cause: () => "the program is not in the image",
    hint: "correct container_entrypoint, or build the image with it",
  },
  {
    ...{ ...operator, words: /exec (?<what>\S+) failed: / },
    cause: (program) =>
      `${program} can not be started in the image: its interpreter or a shared library is missing there`,
    hint: "complete the image",
  },
  {
    ...{ ...operator, words: /^(permission denied|is a directory)$/ },
    cause: () => "container_entrypoint names what can not be executed in the image",
    hint: "make it executable in the image, or correct container_entrypoint",
  },
  {
    ...{ ...operator, words: /unknown (shorthand )?flag: (?<what>.*)/ },
    cause: (option) => `this version of Apptainer does not know ${option}`,
    hint: "take it out of apptainer_args, or choose nodes with a newer Apptainer",
  },
  {
    ...{
      ...operator,
      words:
        /^(?<what>.* has no --mount|the image has no runscript|.* is not the image whose sha256 was checked|.* can not be read, and its sha256 not be checked|.* is not found|.* is neither Apptainer nor Singularity|.* --version fails)\b(: (?<advice>.+?))?( \(on \S+\))?$/,
    },
    cause: (said) => said,
    hint: "look at it on that node, as the user who runs this",
  },
  {
    ...{ ...operator, words: /^(?<what>(what )?the profile's prelude (has left )?ended the run with exit code \d+)/ },
    cause: (said) => said,
    hint: "correct the prelude, or what it needs on that node; its own last words stand before this",
  },
];
