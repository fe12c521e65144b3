/** `explain JOB`: one job's history, why it waits, why it failed, from the snapshot alone. */
import { defineCommand } from "citty";
import { escapeText, writeToStderr } from "../log.ts";
import { explainJson, explainText } from "../view/explain.ts";
import { historyOf } from "../view/history.ts";
import { colorsOf } from "../view/lines.ts";
import { columnsOf } from "../view/width.ts";
import { exitCodes } from "./exit.ts";
import { configFor, globals } from "./globals.ts";
import { jobMeant, trackedIn } from "./tracked.ts";

export const explain = defineCommand({
  meta: { name: "explain", description: "one job: where it stands, why it waits or failed, and its whole history" },
  args: {
    ...globals,
    job: { type: "positional", required: true, description: "its id, or a beginning of at least 4 characters" },
    json: { type: "boolean", description: "print it as JSON: the job as in status, and its history" },
  },
  run({ args }) {
    const tracked = trackedIn(configFor(args));
    const meant = jobMeant(args.job, tracked);
    if (meant.is === "none") {
      writeToStderr(`${meant.why.split("\n").map(escapeText).join("\n")}\n`);
      return exitCodes.failed;
    }
    const { snapshot, facts } = tracked;
    const { jobId } = meant;
    const explained = {
      jobId,
      job: snapshot.jobs.find(({ id }) => id === jobId),
      history: historyOf(snapshot.history(jobId), snapshot.leftOut(jobId)),
    };
    const look = { columns: columnsOf(process.stdout, process.env), colors: colorsOf(process.stdout) };
    console.log(
      args.json ? JSON.stringify(explainJson(explained, facts), null, 2) : explainText(explained, facts, look),
    );
    return exitCodes.done;
  },
});
