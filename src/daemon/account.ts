/**
 * The name under which Slurm shows this user's jobs. Not os.userInfo(): Bun's (1.4.5) repeats $USER, which cron, `su` and
 * `sudo` leave out or leave wrong, and then squeue would be asked for somebody else's jobs and know none of ours.
 */
import { userInfo } from "node:os";

/** A directory service can be slow. */
const timeoutMs = 30_000;

/** The number, which Slurm takes as well, for a user without a name. */
export function accountName(): string {
  const { PATH = "/usr/bin:/bin" } = process.env;
  const { exitCode, stdout } = Bun.spawnSync(["id", "-un"], { env: { PATH }, timeout: timeoutMs });
  const name = stdout.toString().trim();
  return exitCode === 0 && name !== "" ? name : String(userInfo().uid);
}
