/** `.emx2/inputs.json`: where the posix inputs of a job lie, found when they were listed, and needed for its script. */
import * as v from "valibot";
import { StorageError } from "../errors.ts";
import type { InputSource } from "../job/script.ts";
import type { ControlFile, JobFiles } from "./job-files.ts";

const name = "inputs.json";
const Sources = v.pipe(
  v.string(),
  v.parseJson(),
  v.array(v.object({ artifactId: v.string(), kind: v.picklist(["directory", "file"]), path: v.string() })),
);

export function sourcesFile(sources: readonly InputSource[]): ControlFile {
  return { name, content: `${JSON.stringify(sources)}\n` };
}

/** None where the job has no posix inputs. */
export async function readSources(files: JobFiles, dir: string): Promise<readonly InputSource[]> {
  const text = await files.readControl(dir, name);
  if (text === null) return [];
  const parsed = v.safeParse(Sources, text);
  if (parsed.success) return parsed.output;
  const failure = { code: "EINVAL", syscall: "read", path: `${dir}/.emx2/${name}`, permanent: true };
  throw new StorageError(`${failure.path} does not hold what it was written with`, failure);
}
