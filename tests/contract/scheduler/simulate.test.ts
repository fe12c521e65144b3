import { systemClock } from "../../../src/clock.ts";
import { createSimulate } from "../../../src/scheduler/simulate.ts";
import { schedulerContract } from "./suite.ts";

schedulerContract({ name: "simulate", patienceMs: 5_000, setUp: () => () => createSimulate({ clock: systemClock }) });
