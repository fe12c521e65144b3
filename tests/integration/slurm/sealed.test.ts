/** A job that Slurm ran has sealed its outputs there: this host reads each of them once, and where none was sealed twice. */
import { expect, test } from "bun:test";
import { committed } from "../committed.ts";
import { onRealSlurm, openSlurmStage, slurmBoundMs } from "./real-slurm.ts";

const bytes = 64 * 1024 * 1024;
const program = `head -c ${bytes} /dev/urandom >"$HPC_OUTPUT_DIR/big"; mkdir "$HPC_OUTPUT_DIR/d"; echo small >"$HPC_OUTPUT_DIR/d/é \\"x\\""`;

onRealSlurm("sealed outputs", () => {
  test("are read once on this host, for the upload; unsealed ones are read for their hashes as well", async () => {
    const read: number[] = [];
    for (const seals of [true, false]) {
      await using stage = await openSlurmStage({ profiles: { makes: { program, seal_outputs: seals } } });
      const id = stage.submit("makes");
      const daemon = stage.start("run");
      await stage.untilStatus(id, "COMPLETED", slurmBoundMs);
      read.push(daemon.readBytes().all / bytes);
      const files = committed(stage, stage.job(id).outputArtifactId);
      expect([...files].map(([path, { length }]) => [path, length]).sort()).toEqual([
        ["big", bytes],
        ['d/é "x"', 6],
      ]);
    }
    const [sealed = 0, unsealed = 0] = read;
    console.log(`outputs of 64 MiB read on this host: ${sealed.toFixed(2)} times sealed, ${unsealed.toFixed(2)} not`);
    expect([Math.round(sealed), Math.round(unsealed)]).toEqual([1, 2]);
  });
});
