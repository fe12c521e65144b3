/** What a job sees of its surroundings, and that nothing of the daemon's own is among it, nor steers Slurm's commands. */
import { expect, test } from "bun:test";
import { onRealSlurm, openSlurmStage, type SlurmStage, slurmBoundMs, textOf } from "./real-slurm.ts";

const dumps = {
  program: 'tr "\\0" "\\n" </proc/$$/environ >"$HPC_OUTPUT_DIR/environ"; pwd >"$HPC_OUTPUT_DIR/pwd"',
};

/** A login profile's leftovers: the first empties squeue, the second makes one sbatch three tasks, others rename or delay. */
const leftovers = {
  SQUEUE_PARTITION: "nosuch",
  SQUEUE_STATES: "PD",
  SQUEUE_FORMAT: "%i",
  SBATCH_ARRAY_INX: "1-3",
  SBATCH_JOB_NAME: "leftover",
  SBATCH_BEGIN: "now+1hour",
  SBATCH_WAIT: "1",
  SACCT_FORMAT: "JobID",
  SLURM_TIME_FORMAT: "standard",
  SCANCEL_STATE: "PENDING",
};

const secrets = { EMX2_SECRET: "tok-123", BUN_OPTIONS: "--smol", LD_LIBRARY_PATH: "/opt/nowhere", LANG: "de_DE.UTF-8" };
/** As after `su`: jobs are asked for by who we are, not by what these say. */
const stranger = { USER: "stranger", LOGNAME: "stranger" };

const documented = ["HPC_JOB_ID", "EMX2_JOB_ID", "HPC_INPUT_DIR", "HPC_OUTPUT_DIR", "HPC_WORK_DIR", "HPC_PARAMETERS"];
const ofSlurm = ["ENVIRONMENT", "HOSTNAME", "TMPDIR"];
/** Its own, and, in 24.11, what it tells the launchers of MPI about srun. */
const bySlurm = /^(SLURM|HYDRA_|I_MPI_HYDRA_|OMPI_MCA_plm_|PRTE_MCA_plm_)/;
const ofTheShell = ["PWD", "OLDPWD", "SHLVL", "_"];

onRealSlurm("the environment", () => {
  test("of a job is what is documented, whatever stands in the daemon's", async () => {
    const env = { ...leftovers, ...secrets, ...stranger };
    await using stage = await openSlurmStage({ profiles: { dumps }, env });
    const id = stage.submit("dumps", { parametersText: '{"answer":42}' });
    stage.start("run");
    await stage.untilStatus(id, "COMPLETED", slurmBoundMs);

    const seen = new Map(linesIn(stage, id, "environ").map((line) => line.split(/=(.*)/s, 2) as [string, string]));
    const names = [...seen.keys()].filter((name) => !bySlurm.test(name) && !ofTheShell.includes(name));
    const login = ["PATH", "HOME", "USER", "LOGNAME"];
    expect(names.sort()).toEqual([...login, ...documented, "HPC_PARAMETERS_FILE", ...ofSlurm].sort());
    const user = stage.slurm("id", "-un").trim();
    const dir = `${stage.jobsDir}/${id}`;
    expect(Object.fromEntries(seen)).toMatchObject({
      ...{ USER: user, LOGNAME: user, HPC_JOB_ID: id, EMX2_JOB_ID: id, HPC_INPUT_DIR: `${dir}/input` },
      ...{ HPC_OUTPUT_DIR: `${dir}/output`, HPC_WORK_DIR: `${dir}/work`, HPC_PARAMETERS: '{"answer":42}' },
      ...{ HPC_PARAMETERS_FILE: `${dir}/work/parameters.json`, SLURM_JOB_NAME: `emx2-${id}` },
    });
    expect(linesIn(stage, id, "pwd")).toEqual([`${dir}/work`]);
  });

  test("that a login profile leaves behind changes nothing of how a job is submitted and watched", async () => {
    await using stage = await openSlurmStage({ profiles: { dumps }, env: { ...leftovers, ...stranger } });
    const id = stage.submit("dumps");
    stage.start("run");
    await stage.untilStatus(id, "COMPLETED", slurmBoundMs);
    expect(stage.slurmJobs(id)).toEqual([{ id: stage.job(id).slurmJobId ?? "none", state: "COMPLETED" }]);
    expect(stage.ledger()).toEqual([id]);
  });
});

function linesIn(stage: SlurmStage, id: string, path: string): string[] {
  return textOf(stage.output(id), path).trimEnd().split("\n");
}
