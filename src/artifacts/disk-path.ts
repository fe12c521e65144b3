/**
 * Where an output or a log lies, as text. On disk a name is any bytes; the journal, EMX2 and messages hold text. A path that is
 * UTF-8 is that text itself. Of one that is not, every byte that is no part of a character is written `%XX`, and `%` itself
 * `%25`, so that percent-decoding gives the bytes back and no two names become one; in the journal a `/` stands before it,
 * with which no path below a directory can begin. Pure.
 */
import type { FileRow } from "../job/effect.ts";
import { checkArtifactPath, quote } from "./path.ts";

/** What one level of a path is called on disk: text where it is UTF-8. */
export type Name = string | Uint8Array;

const escapedMark = "/";

/** Bytes of a path, separated by `/`, as the journal holds them (`FileRow.diskPath`). */
export function diskPathOf(bytes: Uint8Array): string {
  return textOf(bytes) ?? escapedMark + escaped(bytes);
}

/**
 * The path in the artifact: names that are UTF-8 stay as they are, with `plainNames` those alone that nobody on the way to
 * EMX2 takes offence at. `isEscaped`: another file may have that very name.
 */
export function artifactPathOf(
  bytes: Uint8Array,
  plainNames: boolean,
): { readonly path: string; readonly isEscaped: boolean } {
  const whole = textOf(bytes);
  if (whole !== null && (!plainNames || isPlain(whole))) return { path: whole, isEscaped: false };
  const names = latin(bytes).split("/").map(ofLatin);
  const called = names.map((name) => {
    const text = textOf(name);
    return text !== null && (!plainNames || isPlain(text)) ? text : escaped(name, plainNames);
  });
  return { path: called.join("/"), isEscaped: true };
}

/**
 * The bytes of a path as `artifactPathOf` tells it without `plainNames`. A name that is spelt as one that was escaped can not be
 * told from it.
 */
export function bytesOfArtifactPath(path: string): Buffer {
  const names = path.split("/").map((name) => {
    const bytes = decoded(name);
    return textOf(bytes) === null ? latin(bytes) : latin(Buffer.from(name));
  });
  return ofLatin(names.join("/"));
}

/** Of characters that mean nothing to anybody in a URL, percent-encoded or not (RFC 3986: unreserved). */
export function isPlain(path: string): boolean {
  return /^[A-Za-z0-9._~/-]*$/.test(path);
}

/** The segments of the file's place below what holds its `directory`. */
export function segmentsOnDisk({ directory, path, diskPath = path }: FileRow): readonly Name[] {
  return [...segmentsOf(directory), ...(diskPath.startsWith(escapedMark) ? unescaped(diskPath) : segmentsOf(diskPath))];
}

/** Paths were checked where they came in; one that is bad here is a bug of ours, and goes no further. */
export function segmentsOf(path: string): readonly string[] {
  const found = checkArtifactPath(path);
  if ("refused" in found) throw unchecked(found.refused);
  return found.ok;
}

/** One character for each byte: what is done to paths can then be done to text, and nothing is lost. */
export function latin(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("latin1");
}

export function ofLatin(text: string): Buffer {
  return Buffer.from(text, "latin1");
}

/** null: it is not UTF-8. */
function textOf(bytes: Uint8Array): string | null {
  const text = Buffer.from(bytes).toString();
  return Buffer.from(text).equals(bytes) ? text : null;
}

const maxCharacterBytes = 4;

function escaped(bytes: Uint8Array, plainNames = false): string {
  let text = "";
  for (let at = 0; at < bytes.length; ) {
    const character = characterAt(bytes, at);
    const stays = character !== null && character !== "%" && (!plainNames || isPlain(character));
    text += stays ? character : `%${hex(bytes[at])}`;
    at += stays ? Buffer.byteLength(character) : 1;
  }
  return text;
}

function characterAt(bytes: Uint8Array, at: number): string | null {
  for (let length = 1; length <= maxCharacterBytes; length++) {
    const character = textOf(bytes.subarray(at, at + length));
    if (character !== null) return character;
  }
  return null;
}

function hex(byte = 0): string {
  return byte.toString(16).toUpperCase().padStart(2, "0");
}

function unescaped(diskPath: string): Uint8Array[] {
  const names = latin(decoded(diskPath.slice(escapedMark.length))).split("/");
  if (names.some((name) => ["", ".", ".."].includes(name) || name.includes("\0"))) throw unchecked(quote(diskPath));
  return names.map(ofLatin);
}

function decoded(text: string): Buffer {
  const parts = text.split(/%([0-9A-F]{2})/);
  return Buffer.concat(parts.map((part, index) => Buffer.from(part, index % 2 === 0 ? "utf8" : "hex")));
}

function unchecked(path: string): Error {
  return new Error(`a path reached the job directory unchecked: ${path}`);
}
