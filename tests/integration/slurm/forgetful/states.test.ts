/** Slurm that tracks processes by control groups where the machine can, and forgets a job seconds after its end. */
import { statesOfSlurm } from "../states.ts";

statesOfSlurm("that forgets");
