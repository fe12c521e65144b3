/** Slurm without slurmdbd: squeue and the job directories are all that the daemon learns from. */
import { statesOfSlurm } from "../states.ts";

statesOfSlurm("without accounting");
