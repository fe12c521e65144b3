/** Configuration files in a directory of their own, for the tests of this folder. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Config } from "../../../src/config/config.ts";
import { loadConfig } from "../../../src/config/load.ts";
import { ConfigError, type ConfigProblem } from "../../../src/errors.ts";

export interface Sandbox {
  readonly directory: string;
  readonly home: string;
  /** Writes a file below the directory and returns its path. */
  write(name: string, content: string | Uint8Array, mode?: number): string;
  remove(): void;
}

export function sandbox(): Sandbox {
  const directory = mkdtempSync(join(tmpdir(), "emx2-config-"));
  return {
    directory,
    home: join(directory, "home"),
    write(name, content, mode = 0o600) {
      const path = join(directory, name);
      mkdirSync(dirname(path), { recursive: true });
      rmSync(path, { force: true }); // an earlier one may be read-only, which only root may write to
      writeFileSync(path, content);
      chmodSync(path, mode);
      return path;
    },
    remove: () => rmSync(directory, { recursive: true }),
  };
}

export type Environment = Readonly<Record<string, string | undefined>>;

export function load(box: Sandbox, text: string, env: Environment = {}): Config {
  return loadConfig({ path: box.write("config.yaml", text), env, home: box.home });
}

/** The problems that loading a text ends with; none where it loads. */
export function problemsOf(box: Sandbox, text: string, env: Environment = {}): readonly ConfigProblem[] {
  return problemsIn(() => load(box, text, env));
}

export function problemsIn(act: () => unknown): readonly ConfigProblem[] {
  try {
    act();
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

/** The least that loads, with more lines in the blocks and one host profile. */
export function configText(more: {
  readonly emx2?: string;
  readonly secret?: string;
  readonly worker?: string;
  readonly slurm?: string;
  readonly profile?: string;
  readonly profiles?: string;
  readonly apptainer?: string;
}): string {
  const { emx2 = "base_url: https://emx2.test", secret = "worker_secret_file: secret" } = more;
  const profile = `p/q:\n    host_entrypoint: /bin/true\n    ${more.profile ?? ""}`;
  return [
    `emx2:\n  worker_id: w\n  ${emx2}\n  ${secret}`,
    `worker:\n  ${more.worker ?? ""}`,
    `slurm:\n  ${more.slurm ?? ""}`,
    `profiles:\n  ${more.profiles ?? profile}`,
    `apptainer:\n  tmp_dir: /scratch\n  ${more.apptainer ?? ""}`,
  ].join("\n");
}
