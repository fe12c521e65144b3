/**
 * `.emx2/owner`: which state (journal) takes care of a job directory. Taken once, with an exclusive create; two daemons
 * that share a tmp_dir can not both believe that a directory is theirs, and none removes what it does not own.
 */
import { type FileHandle, link } from "node:fs/promises";
import * as v from "valibot";
import { errnoOf } from "../errors.ts";
import type { Owner } from "./job-files.ts";
import { entry, readSmallFile } from "./no-follow.ts";
import { removeIfThere, syncDirectory, writeAll, writeWhole } from "./whole-file.ts";

export const ownerFile = "owner";
const maxOwnerBytes = 64 * 1024;

const OwnerContent = v.object({ state: v.string(), stateDir: v.string(), host: v.string(), uid: v.number() });

export type Ownership =
  | { readonly is: "nobody" }
  | { readonly is: "state"; readonly owner: Owner }
  | { readonly is: "unreadable"; readonly why: string };

export async function readOwner(control: FileHandle): Promise<Ownership> {
  const file = await readSmallFile(control, ownerFile, maxOwnerBytes);
  if (file === null) return { is: "nobody" };
  if ("unreadable" in file) return { is: "unreadable", why: file.unreadable };
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), OwnerContent), file.text);
  return parsed.success
    ? { is: "state", owner: parsed.output }
    : { is: "unreadable", why: "does not hold what an owner file holds" };
}

/**
 * Takes the directory for `owner`; null: it is ours now, or was already. Else whose it is, for a person to read.
 * `free`: it may be taken where it has no owner yet.
 */
export async function takeOwnership(control: FileHandle, owner: Owner, free: boolean): Promise<string | null> {
  const before = await readOwner(control);
  if (before.is === "nobody" && free && (await createExclusively(control, owner))) return null;
  const holder = before.is === "nobody" ? await readOwner(control) : before;
  if (holder.is !== "state" || holder.owner.state !== owner.state) return describe(holder);
  const moved = holder.owner.stateDir !== owner.stateDir || holder.owner.host !== owner.host;
  if (moved) await replace(control, owner);
  return null;
}

/** Takes it from an owner that is no more. Not null: somebody else was doing the same and was later: it is theirs. */
export async function replaceOwner(control: FileHandle, owner: Owner): Promise<string | null> {
  await replace(control, owner);
  const holder = await readOwner(control);
  return holder.is === "state" && holder.owner.state === owner.state ? null : describe(holder);
}

export function describe(ownership: Ownership): string {
  switch (ownership.is) {
    case "nobody":
      return "no owner file";
    case "unreadable":
      return `an owner file that ${ownership.why}`;
    case "state": {
      const { state, stateDir, host, uid } = ownership.owner;
      return `state ${state} (${stateDir} on ${host}, uid ${uid})`;
    }
  }
}

async function replace(control: FileHandle, owner: Owner): Promise<void> {
  const place = { control, temporary: `.${ownerFile}.${owner.state}.new`, directory: control, name: ownerFile };
  await writeWhole(place, 0o600, (file) => writeAll(file, content(owner)));
}

/** False: somebody else was faster. link(2) never replaces, and what it makes visible is whole. */
async function createExclusively(control: FileHandle, owner: Owner): Promise<boolean> {
  const mine = `${ownerFile}.${owner.state}`;
  const place = { control, temporary: `.${mine}.new`, directory: control, name: mine };
  await writeWhole(place, 0o600, (file) => writeAll(file, content(owner)));
  try {
    await link(entry(control, mine), entry(control, ownerFile));
  } catch (error) {
    if (errnoOf(error) === "EEXIST") return false;
    // No hard links here (CIFS, some FUSE and parallel file systems): the name was free a moment ago.
    await replace(control, owner);
  } finally {
    await removeIfThere(entry(control, mine));
  }
  await syncDirectory(control);
  return true;
}

function content(owner: Owner): Uint8Array {
  const { state, stateDir, host, uid } = owner;
  return Buffer.from(`${JSON.stringify({ state, stateDir, host, uid })}\n`);
}
