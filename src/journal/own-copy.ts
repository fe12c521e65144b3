/**
 * The file of a holder that may only be suspended, or whose storage hangs: what it was about to write can still arrive, in the
 * midst of what we write. So the file is left to it, and a copy takes its name.
 */
import { closeSync, copyFileSync, existsSync, fsyncSync, openSync, renameSync, rmSync } from "node:fs";
import { dirname } from "node:path";

/** `takeBack`: has a transaction that was cut off undone, and leaves the file closed. */
export function putOwnCopy(path: string, takeBack: () => void): void {
  if (!existsSync(path)) return;
  takeBack();
  // Empty by now, and open to the old holder as well.
  rmSync(`${path}-journal`, { force: true });
  const copy = `${path}.copy`;
  rmSync(copy, { force: true });
  copyFileSync(path, copy);
  sync(copy);
  renameSync(copy, path);
  sync(dirname(path));
}

function sync(path: string): void {
  const file = openSync(path, "r");
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
