import { systemClock } from "../../../src/clock.ts";
import { createShell } from "../../../src/scheduler/shell.ts";
import { type Subject, schedulerContract, workloadContract } from "./suite.ts";

const shell: Subject = {
  name: "shell",
  patienceMs: 15_000,
  setUp: () => () =>
    createShell({ clock: systemClock, env: { ...process.env, EMX2_TEST_SECRET: "tok" }, killWaitMs: 5_000 }),
};

schedulerContract(shell);
workloadContract(shell);
