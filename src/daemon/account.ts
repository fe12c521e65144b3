/**
 * The name of the user who submits, by id(1). Bun 1.4.5's `os.userInfo()` only repeats $USER, which is missing under cron
 * and may be anything elsewhere; Slurm would be asked about somebody else's jobs.
 */
import type { Clock } from "../clock.ts";
import { SubprocessError } from "../errors.ts";
import { failureLine, run, succeeded } from "../subprocess.ts";

const timeoutMs = 30_000;

/** Throws SubprocessError where the name service does not know this uid, or does not answer. */
export async function submittingUser(
  clock: Clock,
  signal: AbortSignal,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<string> {
  const { PATH = "/usr/bin:/bin" } = env;
  const completed = await run(["id", "-un"], { clock, signal, env: { PATH }, timeoutMs });
  signal.throwIfAborted();
  const name = completed.stdout.trim();
  if (succeeded(completed) && name !== "") return name;
  const { argv, exitCode, signal: endedBy, timedOut, stderr } = completed;
  const message = `the name of the user who submits is not known (uid ${process.getuid?.()}): ${failureLine(completed)}`;
  throw new SubprocessError(message, { argv, exitCode, signal: endedBy, timedOut, stderrTail: stderr });
}
