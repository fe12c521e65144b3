/**
 * What becomes of a submission that Slurm refuses, word by word. The words are those of Slurm's own tables (slurm_errno.c,
 * job_state_reason.c) and of sbatch.c, of 22.05 to 26.05; sbatch prints them after "Batch job submission failed: ".
 */
import { describe, expect, test } from "bun:test";
import { readSbatch } from "../../../src/scheduler/sbatch-answer.ts";
import type { Completed } from "../../../src/subprocess.ts";

const blank: Completed = {
  ...{ argv: ["sbatch"], exitCode: 1, signal: null, timedOut: false, aborted: false, spawnError: null },
  ...{ truncated: false, stdout: "", stderr: "", durationMs: 20 },
};
const policy = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)";

function answerTo(...words: string[]) {
  const last = words.length - 1;
  const lines = words.map(
    (word, index) => `sbatch: error: ${index === last ? "Batch job submission failed: " : ""}${word}`,
  );
  const answer = readSbatch({ ...blank, stderr: `${lines.join("\n")}\n` });
  return "full" in answer ? `${answer.is}: ${answer.full}` : answer.is;
}

const meanings: Readonly<Record<string, readonly string[]>> = {
  // Slurm may have the job.
  doubt: [
    "Socket timed out on send/recv operation",
    "Zero Bytes were transmitted or received",
    "Unexpected message received",
    "Header lengths are longer than data received",
    "Insane message length",
    "Message send failure",
    "Message receive failure",
    "Communication shutdown failure",
    "Connection timed out writing",
    "Connection timed out reading",
    "Connection forced closed by quiesce timeout",
    "Kernel reported delayed socket error after successful write(), client side likely closed",
    "Unable to contact slurm controller (send failure)",
    "Unable to contact slurm controller (receive failure)",
    "Unable to contact slurm controller (shutdown failure)",
  ],
  // Everything waits until the controller answers.
  unavailable: [
    "Unable to contact slurm controller (connect failure)",
    "Communication connection failure",
    "Connection timed out establishing",
    "Connection rejected by handler",
    "Process is shutting down and closing all communications",
    "Rate limit exceeded, please retry momentarily",
    "Rate limit exceeded, please retry later",
    "Slurm backup controller in standby mode",
    "Controller is in standby mode, try a different controller",
    "Protocol authentication error",
    "Invalid authentication credential",
    "Authentication credential expired",
    "Incompatible versions of client and server code",
    "Can't find an address, check slurm.conf",
    "Connection refused",
    "Unable to resolve user ID to user name",
    "Unable to resolve group ID to group name",
  ],
  // Slurm takes nothing more, whoever asks.
  "busy: everything": [
    "MaxJobCount limit reached",
    "Resource temporarily unavailable",
    "System submissions disabled",
    "I/O error writing script/environment to file",
    "Slurm internal error, contact system administrator",
    "Error generating job credential",
    "Unable to connect to database",
    "No space left on device",
    "Disk quota exceeded",
    "Cannot allocate memory",
    "PrologSlurmctld is still running",
  ],
  // Nothing more with these options: it passes when jobs end, or when what is closed opens.
  "busy: profile": [
    policy,
    "Required partition not available (inactive or drain)",
    "Partition in DOWN state",
    "Requested partition configuration not available now",
    "Required node not available (down, drained or reserved)",
    "Requested nodes are busy",
    "Licenses currently unavailable",
    "Requested reservation is in use",
    "Requested reservation not usable now",
    "Job can not start due to maintenance reservation.",
    "Requested account has breached requested QOS usage threshold",
    "Burst Buffer resource limit exceeded",
    "Waiting for burst buffer",
    "Required ports are in use",
    "Job locked by another sibling",
    "Max powered up nodes reached",
    "Requested operation is presently disabled",
    "Job can not be altered now, try again later",
  ],
  // The operator's options: the profile is held.
  refused: [
    "Invalid partition name specified",
    "No partition specified or system default partition",
    "User's group not permitted to use this partition",
    "Multiple partition job request not supported when a partition is set in the association",
    "Access/permission denied",
    "Invalid account or account/partition combination specified",
    "Invalid qos specification",
    "Invalid QOS specification, relative QOS can only be used in a single partition per cluster.",
    "Invalid wckey specification",
    "Invalid license specification",
    "Invalid feature specification",
    "Invalid preferred feature specification",
    "Invalid extra constraints specification",
    "Invalid generic resource (gres) specification",
    "Duplicate generic resource (gres) specification",
    "Invalid GRES specification (with and without type identification)",
    "Requested GRES option unsupported by configured SelectType plugin",
    "Insufficient GRES available in allocation",
    "Invalid Trackable RESource (TRES) specification",
    "Invalid node name specified",
    "Requested nodes not in this partition",
    "Requested node configuration is not available",
    "Requested topology configuration is not available",
    "Node count specification invalid",
    "CPU count specification invalid",
    "Task count specification invalid",
    "Task distribution specification invalid",
    "More processors requested than permitted",
    "Memory required by task is not available",
    "Job size specification needs to be provided",
    "Cannot request more threads per core than the job allocation",
    "Requested time limit is invalid (missing or exceeds some limit)",
    "Invalid time-min specification (exceeds job's time or other limits)",
    "Invalid time specified",
    "Requested reservation is invalid",
    "Access denied to requested reservation",
    "Job dependency problem",
    "Circular job dependency",
    "Invalid --nice value",
    "Invalid mcs_label specified",
    "Job --batch option is invalid or not a subset of --constraint",
    "Burst Buffer request invalid",
    "Burst Buffer permission denied",
    "Pathname of a file, directory or other parameter too long",
    "Invalid user id",
    "Invalid group id",
    "Invalid or unknown association",
    "Requested operation not supported on this system",
    "Invalid cluster name",
    "No eligible clusters for federated job",
    "RestrictedCoresPerGPU: Not enough unique cores per GPU",
  ],
};

describe.each(Object.entries(meanings))("%s", (meaning, words) => {
  test.each([...words])("%s", (word) => expect(answerTo(word)).toBe(meaning));
});

describe("a limit that is named before the refusal", () => {
  test.each([
    "AssocMaxSubmitJobLimit",
    "AssocGrpSubmitJobsLimit",
    "QOSMaxSubmitJobPerUserLimit",
    "QOSGrpSubmitJobsLimit",
    "MaxSubmitJobsPerAccount",
  ])("%s is one on how many: it passes", (limit) => expect(answerTo(limit, policy)).toBe("busy: profile"));

  test.each([
    "AssocMaxWallDurationPerJobLimit",
    "AssocMaxCpuPerJobLimit",
    "AssocMaxMemPerJob",
    "AssocGrpCpuLimit",
    "QOSMaxCpuPerUserLimit",
    "QOSMaxGRESPerJob",
    "QOSMinCpuNotSatisfied",
    "PartitionTimeLimit",
  ])("%s is one on how large: it stays", (limit) => expect(answerTo(limit, policy)).toBe("refused"));
});

describe("an sbatch that tries again by itself", () => {
  const retries = [
    "Slurm job queue full, sleeping and retrying",
    "Slurm temporarily unable to accept job, sleeping and retrying.",
    "Job creation temporarily disabled, retrying",
  ];

  test.each(retries)("%s: what it says last counts", (retry) => {
    const at = (last: string) => readSbatch({ ...blank, stderr: `sbatch: error: ${retry}\n${last}` });
    expect(at("")).toMatchObject({ is: "busy", full: "everything" });
    expect(at("sbatch: error: Batch job submission failed: Resource temporarily unavailable\n").is).toBe("busy");
    expect(at("sbatch: error: Batch job submission failed: Invalid qos specification\n").is).toBe("refused");
    expect(at("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n").is).toBe(
      "doubt",
    );
  });

  test.each(retries)("%s: ended meanwhile it is in doubt, and the others need not try", (retry) => {
    const answer = readSbatch({ ...blank, exitCode: 124, stderr: `sbatch: error: ${retry}\n` });
    expect(answer).toMatchObject({ is: "doubt", full: "everything" });
    expect(readSbatch({ ...blank, exitCode: 124 })).not.toHaveProperty("full");
  });
});
