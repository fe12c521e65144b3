/** Spellings of durations and sizes in the configuration, ours and Slurm's, and what they come to. */

/** Seconds, fractions allowed, or a number with its unit: `30s`, `5m`, `12h`, `7d`. */
export const durationPattern = /^\d+(\.\d+)?[smhd]?$/;
/** Bytes, or a number with a unit of 1024: `10G`. */
export const sizePattern = /^\d+(\.\d+)?[KMGT]?$/;

/** Nothing here outlives this; a longer one is a slip of the unit. */
export const longestDurationMs = 3650 * 24 * 3600 * 1000;
export const largestSizeBytes = Number.MAX_SAFE_INTEGER;

const msPer: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const bytesPer: Readonly<Record<string, number>> = { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

/** Milliseconds of what matches `durationPattern`. */
export function durationMs(value: number | string): number {
  return Math.round(scaled(value, msPer, 1000));
}

/** The same, null for `never`. */
export function durationOrNeverMs(value: number | string): number | null {
  return value === "never" ? null : durationMs(value);
}

/** Bytes of what matches `sizePattern`. */
export function sizeBytes(value: number | string): number {
  return Math.round(scaled(value, bytesPer, 1));
}

function scaled(value: number | string, units: Readonly<Record<string, number>>, unitless: number): number {
  if (typeof value === "number") return value * unitless;
  return Number.parseFloat(value) * (units[value.slice(-1)] ?? unitless);
}

/** sbatch's `--mem`: megabytes or with a unit; 0 is all of a node. It refuses fractions, `Gi` and `P` (22.05). */
export const slurmMemoryPattern = /^\d+([KMGTkmgt][Bb]?)?$/;

/** sbatch's `--time`: M, M:S, H:M:S, D-H, D-H:M, D-H:M:S, or no limit. It knows no units such as `4h`. */
export const slurmTimePattern = /^(\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}|UNLIMITED|unlimited|INFINITE|infinite)$/;

/** sbatch's `--gpus`: a number, or a list of kinds with theirs: `a100:2`. */
export const slurmGpusPattern = /^([1-9]\d*|[A-Za-z][\w.-]*:[1-9]\d*(,[A-Za-z][\w.-]*:[1-9]\d*)*)$/;

/** sbatch's `--gres`: a list of name, optional kind, optional count: `gpu:a100:1`. */
export const slurmGresPattern = /^[A-Za-z][\w./-]*(:[\w.-]+){0,2}(,[A-Za-z][\w./-]*(:[\w.-]+){0,2})*$/;
