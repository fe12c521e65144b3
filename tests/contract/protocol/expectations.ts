/**
 * What the two generations of the server do differently: the one place where the suite says so. What is not here is alike in
 * both, and stands in the tests. Source: exchanges recorded with a real server of each generation.
 */
import type { Generation } from "../../../src/emx2/generation.ts";

/** Each fact: on 2026-02, on 2026-05. A number is an HTTP status. */
const facts = {
  // Who sends, and how it is refused.
  healthNamesWorkerCredentials: [false, true],
  requestIdThatIsNoUuid: [200, 400],
  timestampThatIsNoNumber: [401, 400],
  withoutWorkerId: [200, 401],
  unknownWorker: [200, 401],
  refusesSendersAsProblem: [false, true],
  signsContentHash: [false, true],
  contentHashSignedOnGet: [401, 200],
  replayed: [401, 200],
  nonceOfBadSignature: [401, 200],

  // Workers, and what the server itself holds them to.
  registrationOfAnother: [200, 401],
  deletionOfAnother: [204, 403],
  linksHeartbeat: [false, true],
  heartbeatForAnother: [200, 400],
  heartbeatOfStranger: [200, 404],
  claimInAnothersName: [409, 400],
  claimWithoutCapability: [200, 409],
  claimOverCapacity: [200, 409],
  reportByAnother: [200, 409],
  claimByTransitionNamesWorker: [false, true],

  // Bodies.
  noBody: [500, 400],
  malformedJson: [500, 400],
  claimWithoutWorker: [400, 200],

  // Jobs.
  unknownInput: [500, 404],
  namesSubmitter: [false, true],
  enrichesInputObjects: [false, true],
  hasComplete: [false, true],
  keepsProgress: [false, true],
  progressOutOfBounds: [200, 400],
  recordsEveryRepeat: [true, false],
  deletionOfLiveJob: [204, 409],
  listsOldestFirst: [false, true],
  limitZeroIsAll: [false, true],

  // Artifacts and files.
  wrongContentHash: [201, 400],
  withoutContentHash: [201, 401],
  keepsContentCalledJson: [true, false],
  guessesMediaType: [false, true],
  slashInPath: [404, 201],
  dotsInPath: [404, 400],
  dotsInsideSegment: [201, 400],
  longestPathChars: [255, 1_024],
  tooLongPath: [500, 400],
  readOfPosixFile: [200, 302],
  checksPosixCommit: [true, false],
  putOfElevenMegabytes: [500, 201],
  putOfTooMuch: [500, 413],
  takesForms: [true, false],
} as const satisfies Record<string, readonly [unknown, unknown]>;

type Facts = typeof facts;
export type Expectations = { readonly [Fact in keyof Facts]: Facts[Fact][number] };

export function expectationsOf(generation: Generation): Expectations {
  const column = generation === "2026-02" ? 0 : 1;
  return Object.fromEntries(Object.entries(facts).map(([fact, values]) => [fact, values[column]])) as Expectations;
}
