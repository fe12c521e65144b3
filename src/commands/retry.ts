/** `retry JOB`: what of a job waits after a failure, an upload most often, is tried now, and may be tried as long as at first. */
import { defineCommand } from "citty";
import { aboutJob, askFor } from "./ask.ts";

export const retry = defineCommand({
  meta: { name: "retry", description: "try at once what of a job waits after a failure" },
  args: aboutJob,
  run: ({ args, data }) =>
    askFor(args, data, {
      kind: "retry",
      isTaken: (jobId, by) => `job ${jobId} is tried again by ${by}: explain ${jobId} shows how far it is`,
      isClosed: (job) => `job ${job.id} has come to its end: EMX2 says ${job.server.status}`,
      goesOn: (job, stage) => `job ${job.id} was tried again, and is not at its end: ${stage}`,
    }),
});
