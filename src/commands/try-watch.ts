/** The head node's side of a trial: it answers to the node, and reads what the node and the image have shown. */
import { readdir, writeFile } from "node:fs/promises";
import { controlDirectory } from "../artifacts/manifest.ts";
import { entry, readSmallFile, withDirectory } from "../artifacts/no-follow.ts";
import { onDisk } from "../artifacts/storage-fault.ts";
import { type Clock, sleepOn } from "../clock.ts";
import { errnoOf } from "../errors.ts";
import { parseHeard, parseLook, parseNodeLook, type Shown, type TrialName, trialAnswer } from "../job/trial.ts";

const asked = "trial.asked";
const lookIntervalMs = 100;
const maxFileBytes = 64 * 1024;

/** Until the signal. Gives when it has answered the node, on this host's clock; undefined: it never saw the node's file. */
export async function answerNode(jobDir: string, clock: Clock, signal: AbortSignal): Promise<number | undefined> {
  while (!signal.aborted) {
    const answeredAt = await unlessAbsent(() =>
      withDirectory(jobDir, [controlDirectory], async (control) => {
        if (!(await readdir(entry(control, "."))).includes(asked)) return undefined;
        const at = clock.wall();
        await onDisk("answer the node in", jobDir, () => writeFile(entry(control, trialAnswer), ""));
        return at;
      }),
    );
    if (answeredAt !== undefined) return answeredAt;
    await sleepOn(clock, lookIntervalMs, signal).catch(() => {});
  }
  return undefined;
}

/** What there is of it after the job's end; nothing of a job that never began. */
export async function readShown(jobDir: string, answeredAt: number | undefined): Promise<Shown> {
  const texts = await unlessAbsent(() =>
    withDirectory(jobDir, [controlDirectory], async (control) => {
      const read = async (name: TrialName) => {
        const file = await readSmallFile(control, name, maxFileBytes);
        return file !== null && "text" in file ? file.text : undefined;
      };
      return {
        prelude: await read("trial.prelude"),
        node: await read("trial.node"),
        image: await read("trial.image"),
        heard: await read("trial.heard"),
        asked: await read(asked),
      };
    }),
  );
  const { askedAt, heardAt } = parseHeard(texts?.asked, texts?.heard);
  const isWhole = answeredAt !== undefined && askedAt !== undefined && heardAt !== undefined;
  return {
    ...(texts?.prelude === undefined ? {} : { prelude: texts.prelude }),
    ...(texts?.node === undefined ? {} : { node: parseNodeLook(texts.node) }),
    ...(texts?.image ? { image: parseLook(texts.image) } : {}),
    ...(isWhole
      ? { files: { roundTripMs: heardAt - askedAt, clockAheadMs: (askedAt + heardAt) / 2 - answeredAt } }
      : {}),
  };
}

async function unlessAbsent<T>(look: () => Promise<T>): Promise<T | undefined> {
  try {
    return await look();
  } catch (error) {
    // Not there yet, or the file system fails: the daemon says so, and here only a look is missing.
    if (errnoOf(error) !== undefined) return undefined;
    throw error;
  }
}
