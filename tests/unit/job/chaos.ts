/** Anything that can happen to a job, in any order: more than the world would do, so that nothing rests on its order. */
import fc from "fast-check";
import type { JobEvent } from "../../../src/job/effect.ts";
import { ownTimeouts } from "../../../src/job/job.ts";
import type { Outcome, SlurmState } from "../../../src/job/run.ts";
import { slurmStates } from "../../../src/job/run.ts";
import { jobStatuses } from "../../../src/job/status.ts";
import * as story from "./story.ts";

const index = fc.nat({ max: 2 });
const role = fc.constantFrom("log" as const, "output" as const);
const failure = fc.constantFrom(
  story.retry,
  story.doubt,
  story.refused("no"),
  story.refused("no", 409),
  story.refused("no", 404),
);
const states: readonly SlurmState[] = slurmStates;

const server = fc.option(
  fc.record({ status: fc.constantFrom(...jobStatuses), workerId: fc.constantFrom("w1", "w2", null) }),
  { freq: 8 },
);

export const receipts = fc.constantFrom(
  { ...story.unleased, directory: false },
  story.unleased,
  story.leased,
  { ...story.leased, lease: "8" },
  story.exited(0),
  story.exited(3),
  story.exited(0, { oomKill: 1 }),
  story.exited(143, { signal: "TERM" }),
  { ...story.exited(0), done: { exit: 0, manifestSha256: "ab" } },
);

const outcome: fc.Arbitrary<Outcome> = fc.record({
  result: fc.constantFrom("succeeded" as const, "failed" as const, "cancelled" as const),
  proof: fc.constant("receipt" as const),
  state: fc.constantFrom("COMPLETED" as const, "FAILED" as const, "LOST" as const),
  outputDir: fc.constant("output"),
});

export const observation: fc.Arbitrary<story.Step> = fc.oneof(
  server.map(story.saw),
  fc
    .tuple(fc.option(fc.constantFrom(...states)), receipts)
    .map(([state, found]) => story.observed(state && story.row(state), found)),
  fc.constantFrom({ phase: "align" }, { fraction: 0.5 }, { message: "half" }).map(story.progressed),
);

/** At any time: `decide` would not let one expire whose time has not come. */
const expiry: fc.Arbitrary<story.Step> = fc.constantFrom(...ownTimeouts).map(story.expired);

const success: fc.Arbitrary<story.Step> = fc.oneof(
  fc.constantFrom<story.Step>(...story.claimedOk, ...story.staged, story.written, story.submitting, story.submitted),
  server.map(story.read),
  fc
    .nat({ max: 2 })
    .map((total) => story.ended({ kind: "ListInputs" }, story.ok<"ListInputs">({ total, bytes: total }))),
  index.map((at) => story.ended({ kind: "StageFiles", from: at }, story.ok<"StageFiles">({ files: 1, bytes: 1 }))),
  fc
    .constantFrom("7", "8", null)
    .map((schedulerId) => ({ schedulerId, askedAt: story.startAt }))
    .map((value) => story.ended({ kind: "FindRun", ref: story.ref }, story.ok<"FindRun">(value))),
  outcome.map((end) => story.closedRun(end, ["a line"])),
  role.map((of) => story.uploaded(of)).chain((steps) => fc.constantFrom<story.Step>(...steps)),
  role.map(story.noFiles),
  index.chain((at) =>
    role.map((of) =>
      story.ended({ kind: "PutFiles", role: of, from: at }, story.ok<"PutFiles">({ files: 1, bytes: 1 })),
    ),
  ),
  fc.constant(answering({ is: "ok", value: {} })),
);

const setback: fc.Arbitrary<story.Step> = fc.oneof(
  failure.map((result) => story.ended({ kind: "ClaimJob" }, result)),
  failure.map((result) => story.ended({ kind: "ReadJob" }, result)),
  failure.map((result) => story.ended({ kind: "ListInputs" }, result)),
  index.chain((at) => failure.map((result) => story.ended({ kind: "StageFiles", from: at }, result))),
  failure.map((result) => story.ended({ kind: "WriteScript", attempt: "a1" }, result)),
  failure.map((result) => story.ended({ kind: "Submit", ref: story.ref }, result)),
  failure.map((result) => story.ended({ kind: "CancelRun", ref: story.tracked }, result)),
  role.chain((of) => failure.map((result) => story.ended({ kind: "SealFiles", role: of }, result))),
  role.chain((of) => failure.map((result) => story.ended({ kind: "CreateArtifact", role: of }, result))),
  role.chain((of) => failure.map((result) => story.ended({ kind: "PutFiles", role: of, from: 0 }, result))),
  role.chain((of) => failure.map((result) => story.ended({ kind: "Commit", role: of }, result))),
  failure.map(answering),
);

export const anything: fc.Arbitrary<story.Step[]> = fc
  .tuple(
    fc.constantFrom<story.Step[]>([], story.claimedOk, story.toTracked.slice(1), [
      ...story.toTracked.slice(1),
      story.closedRun(story.succeeded),
    ]),
    fc.array(
      fc.oneof(
        { weight: 30, arbitrary: success },
        { weight: 10, arbitrary: setback },
        { weight: 10, arbitrary: observation },
        { weight: 1, arbitrary: expiry },
      ),
      { maxLength: 60 },
    ),
  )
  .map(([begin, rest]) => [story.offered, ...begin, ...rest]);

/** The answer to the next report; where there is none, to one that was never made. */
function answering(result: Parameters<typeof story.reportAnswer>[0]): story.Step {
  return (job): JobEvent => story.ended({ kind: "Report", report: job.outbox[0] ?? { status: "STARTED" } }, result);
}
