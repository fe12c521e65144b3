import { join } from "node:path";
import { systemClock } from "../../../src/clock.ts";
import { createSlurm } from "../../../src/scheduler/slurm.ts";
import { installFakeSlurm } from "../../fake-slurm/install.ts";
import { type Subject, schedulerContract, workloadContract } from "./suite.ts";

const slurm: Subject = {
  name: "Slurm, its commands being fake programs",
  patienceMs: 15_000,
  setUp(dir) {
    const binDir = installFakeSlurm(join(dir, "slurm"));
    const env = { ...process.env, USER: "jo", LOGNAME: "jo", EMX2_TEST_SECRET: "tok" };
    return () => createSlurm({ clock: systemClock, binDir, env, user: "jo" });
  },
};

schedulerContract(slurm);
workloadContract(slurm);
