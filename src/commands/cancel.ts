/** `cancel JOB`: ends one job here and has EMX2 told. */
import { defineCommand } from "citty";
import { aboutJob, askFor } from "./ask.ts";

export const cancel = defineCommand({
  meta: { name: "cancel", description: "end one job here, and say so at EMX2" },
  args: aboutJob,
  run: ({ args, data }) =>
    askFor(args, data, {
      kind: "cancel",
      isTaken: (jobId, by) => `job ${jobId} is being ended by ${by}: explain ${jobId} shows how far it is`,
      isClosed: (job) => `job ${job.id} is ended: EMX2 says ${job.server.status}`,
      goesOn: (job, stage) => `job ${job.id} is to be ended, and is not yet: ${stage}`,
    }),
});
