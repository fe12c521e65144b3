/**
 * What goes wrong in one world: each fault is in it or not, as the seed has it, so that small worlds mix them all. After
 * `quietAt` nothing goes wrong any more, and everything has to come to its end.
 */
export interface Span {
  /** Milliseconds since the world's beginning. */
  readonly from: number;
  readonly to: number;
}

/** `reassignment`: EMX2 gives the job to a worker that is none of ours. */
export type Ender = "submitter" | "deletion" | "reassignment" | "operator";

/** How a run that has started goes on. */
export type Fate =
  | "well"
  | "exit code"
  | "out of memory"
  | "time limit"
  | "node failure"
  | "preempted"
  | "scancel"
  | "requeue";

export interface Kill {
  readonly line: number;
  readonly awayMs: number;
  readonly losesState: boolean;
  /** It is not killed but stands still, and comes back so long after another login node has taken its state over. */
  readonly standsStillMs?: number;
}

export interface Weather {
  readonly quietAt: number;
  readonly jobs: number;
  readonly workers: 1 | 2;
  readonly requeue: boolean;
  readonly accounting: boolean;
  /** How far accounting is behind at most. */
  readonly accountingLagMs: number;
  readonly freshRowsAreWrong: boolean;
  readonly minJobAgeMs: number;
  readonly queueMs: number;
  readonly runMs: number;
  readonly completingMs: number;
  /** Chances. */
  readonly lostSubmit: number;
  readonly lateSubmit: number;
  readonly busy: number;
  readonly failedQuery: number;
  readonly crashAfterSubmit: number;
  readonly fates: ReadonlyMap<Fate, number>;
  /** A run that its script does not seal, one that is ended while it does, and one that writes on after it. */
  readonly unsealed: number;
  readonly endedInSeal: number;
  readonly straggler: number;
  /** It takes so long at most. */
  readonly sealMs: number;
  readonly controllerDown: readonly Span[];
  /** The controller runs on an empty state, until somebody gives it its own again. */
  readonly amnesia: readonly Span[];
  readonly databaseDown: readonly Span[];
  readonly refusing: readonly Span[];
  readonly lagMs: number;
  readonly storageDown: readonly Span[];
  readonly lostRequest: number;
  readonly lostAnswer: number;
  readonly doubled: number;
  readonly slow: number;
  readonly spurious: number;
  readonly serverDown: readonly Span[];
  readonly secretRotated: Span | undefined;
  readonly endings: readonly { readonly by: Ender; readonly job: number; readonly at: number }[];
  /** At so many lines of the chronicle the daemon is killed, and comes back after so long. */
  readonly kills: readonly Kill[];
  readonly clockJumps: readonly (Span & { readonly byMs: number })[];
}

const secondMs = 1_000;
const minuteMs = 60 * secondMs;
const hourMs = 60 * minuteMs;

const enders: readonly Ender[] = ["submitter", "deletion", "reassignment", "operator"];
const badFates: readonly Fate[] = ["exit code", "out of memory", "time limit", "node failure", "preempted", "scancel"];
const mostSpans = 3;

/** Nothing goes wrong. */
export const calm: Weather = {
  ...{
    quietAt: 0,
    jobs: 0,
    workers: 1,
    requeue: false,
    accounting: true,
    accountingLagMs: 0,
    freshRowsAreWrong: false,
  },
  ...{ minJobAgeMs: 300 * secondMs, queueMs: 20 * secondMs, runMs: minuteMs, completingMs: secondMs },
  ...{ lostSubmit: 0, lateSubmit: 0, busy: 0, failedQuery: 0, crashAfterSubmit: 0, fates: new Map(), lagMs: 0 },
  ...{ unsealed: 0, endedInSeal: 0, straggler: 0, sealMs: 0 },
  ...{
    controllerDown: [],
    amnesia: [],
    databaseDown: [],
    refusing: [],
    storageDown: [],
    serverDown: [],
    clockJumps: [],
  },
  ...{
    lostRequest: 0,
    lostAnswer: 0,
    doubled: 0,
    slow: 0,
    spurious: 0,
    secretRotated: undefined,
    endings: [],
    kills: [],
  },
};

export function drawWeather(random: () => number): Weather {
  const dice = createDice(random);
  const { chance, between, spread, often, spans } = dice;
  const jobs = 1 + Math.floor(random() * 4);
  const faults = {
    ...drawSlurm(dice),
    lagMs: chance(0.4) ? between(10 * secondMs, 90 * secondMs) : 0,
    storageDown: spans(0.15, 5 * secondMs, 10 * minuteMs),
    lostRequest: often(0.3, 0.1),
    lostAnswer: often(0.3, 0.15),
    doubled: often(0.2, 0.2),
    slow: often(0.2, 0.1),
    spurious: often(0.25, 0.1),
    serverDown: spans(0.15, minuteMs, chance(0.03) ? 48 * hourMs : 2 * hourMs),
    secretRotated: chance(0.08) ? spans(1, 10 * secondMs, 30 * minuteMs)[0] : undefined,
    clockJumps: spans(0.1, 10 * secondMs, hourMs).map((span) => ({
      ...span,
      byMs: (chance(0.5) ? 1 : -1) * spread(minuteMs, 6 * hourMs),
    })),
  };
  const { controllerDown, amnesia, databaseDown, refusing, storageDown, serverDown, clockJumps, secretRotated } =
    faults;
  const passing = [controllerDown, amnesia, databaseDown, refusing, storageDown, serverDown, clockJumps];
  const ends = [...passing.flat(), ...(secretRotated ? [secretRotated] : [])].map(({ to }) => to);
  return {
    ...faults,
    ...{ jobs, workers: chance(0.2) ? 2 : 1, quietAt: Math.max(45 * minuteMs, ...ends) },
    endings: Array.from({ length: chance(0.25) ? 1 + Math.floor(random() * 2) : 0 }, () => ({
      by: enders[Math.floor(random() * enders.length)] ?? "submitter",
      job: Math.floor(random() * jobs),
      at: spread(5 * secondMs, 15 * minuteMs),
    })),
    kills: drawKills(dice, 60 + 100 * jobs),
  };
}

function drawSlurm({ chance, between, spread, often, spans }: Dice) {
  const amnesia = spans(0.08, 25 * minuteMs, 90 * minuteMs);
  const requeue = chance(0.3);
  const fates = new Map<Fate, number>();
  for (const fate of badFates) if (chance(0.15)) fates.set(fate, 0.3);
  if (requeue) fates.set("requeue", 0.4);
  return {
    ...{
      amnesia,
      requeue,
      fates,
      accounting: chance(0.75),
      accountingLagMs: chance(0.5) ? between(10 * secondMs, 90 * secondMs) : 0,
    },
    freshRowsAreWrong: chance(0.5),
    unsealed: often(0.4, 1),
    endedInSeal: often(0.3, 0.5),
    straggler: often(0.4, 0.8),
    sealMs: chance(0.9) ? spread(100, 2 * minuteMs) : spread(2 * minuteMs, 25 * minuteMs),
    minJobAgeMs: chance(0.5) ? 300 * secondMs : spread(2 * secondMs, 60 * secondMs),
    queueMs: chance(0.8) ? spread(secondMs, 5 * minuteMs) : spread(5 * minuteMs, 30 * minuteMs),
    runMs: spread(2 * secondMs, 9 * minuteMs),
    completingMs: spread(100, minuteMs),
    lostSubmit: often(0.4, 0.8),
    lateSubmit: often(0.3, 0.8),
    busy: often(0.15, 0.5),
    failedQuery: often(0.3, 0.4),
    crashAfterSubmit: often(0.2, 1),
    controllerDown: spans(0.15, 10 * secondMs, hourMs),
    databaseDown: spans(0.2, 10 * secondMs, hourMs),
    refusing: spans(0.1, 10 * secondMs, 20 * minuteMs),
  };
}

function drawKills({ random, chance, spread }: Dice, lastLine: number): Weather["kills"] {
  const kills = Array.from({ length: chance(0.6) ? 1 + Math.floor(random() * 4) : 0 }, () => ({
    line: Math.floor(spread(5, lastLine)),
    awayMs: chance(0.9) ? spread(secondMs, 10 * minuteMs) : spread(10 * minuteMs, 6 * hourMs),
    losesState: chance(0.12),
    ...(chance(0.15) ? { standsStillMs: spread(secondMs, 30 * minuteMs) } : {}),
  }));
  return kills.sort((a, b) => a.line - b.line);
}

type Dice = ReturnType<typeof createDice>;

function createDice(random: () => number) {
  const chance = (share: number) => random() < share;
  const between = (least: number, most: number) => least + random() * (most - least);
  /** Short ones are the most. */
  const spread = (least: number, most: number) => least * (most / least) ** random();
  /** Mostly not at all. */
  const often = (share: number, most: number) => (chance(share) ? random() * most : 0);
  const spans = (share: number, least: number, most: number): Span[] => {
    const found: Span[] = [];
    while (found.length < mostSpans && chance(share)) {
      const from = spread(secondMs, 40 * minuteMs);
      found.push({ from, to: from + spread(least, most) });
    }
    return found;
  };
  return { random, chance, between, spread, often, spans };
}

export function isWithin(spans: readonly Span[], now: number): boolean {
  return spans.some(({ from, to }) => now >= from && now < to);
}
