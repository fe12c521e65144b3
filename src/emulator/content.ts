/**
 * The bytes of an upload. They are kept in memory, but for large ones where the state has a directory: an EMX2 that stands
 * in one process with whoever asks for it must not hold gigabytes.
 */
import { createHash } from "node:crypto";
import { unlink } from "node:fs/promises";
import { join } from "node:path";
import { sha256Hex } from "../emx2/signature.ts";
import type { Call } from "./exchange.ts";
import type { StoredFile } from "./state.ts";

const largeFromBytes = 8 * 1024 * 1024;

/** `declaredBytes`: what the request says of its length. */
export async function receive(
  call: Call,
  declaredBytes: number,
): Promise<Pick<StoredFile, "sha256" | "sizeBytes" | "content" | "large">> {
  const { contentDir, uuid } = call.state;
  if (contentDir !== null && declaredBytes >= largeFromBytes) return toDisk(call.stream(), join(contentDir, uuid()));
  const content = await call.body();
  return { sha256: sha256Hex(content), sizeBytes: content.length, content };
}

async function toDisk(body: ReadableStream<Uint8Array>, path: string) {
  const large = Bun.file(path);
  const writer = large.writer();
  const hash = createHash("sha256");
  let sizeBytes = 0;
  try {
    for await (const chunk of body) {
      hash.update(chunk);
      sizeBytes += chunk.length;
      writer.write(chunk);
      await writer.flush();
    }
    await writer.end();
  } catch (error) {
    await writer.end();
    await unlink(path);
    throw error;
  }
  return { sha256: hash.digest("hex"), sizeBytes, content: null, large };
}
