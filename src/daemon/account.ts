/**
 * The name of the user who submits, by id(1). Bun 1.4.5's `os.userInfo()` only repeats $USER, which is missing under cron
 * and may be anything elsewhere; Slurm would be asked about somebody else's jobs.
 */
import type { Clock } from "../clock.ts";
import { SubprocessError } from "../errors.ts";
import { failureLine, run, succeeded } from "../subprocess.ts";

const timeoutMs = 30_000;

/** Throws SubprocessError where the name service does not know this uid. */
export async function submittingUser(clock: Clock): Promise<string> {
  const completed = await run(["id", "-un"], {
    clock,
    env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin" },
    timeoutMs,
  });
  const name = completed.stdout.trim();
  if (succeeded(completed) && name !== "") return name;
  const { argv, exitCode, signal, timedOut, stderr } = completed;
  throw new SubprocessError(`this user has no name: ${failureLine(completed)}`, {
    ...{ argv, exitCode, signal, timedOut },
    stderrTail: stderr,
  });
}
