/** Bodies on the wire, in both directions: bounded or streamed, and every chunk of them seen by the idle watchdog. */
import { IntegrityError } from "../errors.ts";
import type { Call } from "./client.ts";
import type { Reply, Upload } from "./exchange.ts";
import type { IdleWatch } from "./idle.ts";

/** What is no file is read at once, and whoever waits for it waits with everything else. */
const maxAnswerMs = 300_000;

/** Reads the answer's body up to `maxBytes`, and lets go of the rest (`cut`). */
export async function readBounded(reply: Reply, maxBytes: number): Promise<{ bytes: Uint8Array; cut: boolean }> {
  const chunks: Uint8Array[] = [];
  let total = 0;
  reply.watch.endsWithin(maxAnswerMs);
  const reader = downloadBody(reply).getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    chunks.push(next.value);
    total += next.value.byteLength;
    if (total > maxBytes) {
      await reader.cancel();
      break;
    }
  }
  return { bytes: Buffer.concat(chunks).subarray(0, maxBytes), cut: total > maxBytes };
}

/** The answer's body. The watchdog runs only while a chunk is asked for: a slow reader is no silent server. */
export function downloadBody(
  { response, watch, fault }: Reply,
  onBytes: Call["onBytes"] = () => undefined,
): ReadableStream<Uint8Array> {
  const reader = response.body?.getReader();
  let passed = 0;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const next = reader ? await watch.within(reader.read()) : { done: true as const };
          if (!next.done) {
            passed += next.value.byteLength;
            onBytes(passed);
            return controller.enqueue(next.value);
          }
          watch.end();
          controller.close();
        } catch (cause) {
          watch.end();
          controller.error(fault(cause));
        }
      },
      cancel: () => watch.end(),
    },
    { highWaterMark: 0 },
  );
}

interface UploadBody {
  readonly stream: ReadableStream<Uint8Array>;
  /** Why the source could not be sent, if that is why the request failed. */
  readonly failure: () => { readonly cause: unknown } | undefined;
  /** Lets go of a source that was not read to its end. */
  readonly close: () => void;
}

/**
 * Each chunk that is taken from the upload's source counts as movement: fetch takes one when the socket has room for it.
 * A source that is longer or shorter than was said is an IntegrityError: the file changed after it was hashed.
 */
export function uploadBody(
  upload: Pick<Upload, "bytes" | "body" | "envelope">,
  watch: IdleWatch,
  onBytes: Call["onBytes"] = () => undefined,
): UploadBody {
  const reader = upload.body().getReader();
  let failure: { cause: unknown } | undefined;
  let ended = false;
  /** The request ended before its body did, while the source was being read: nobody takes what comes of that. */
  let abandoned = false;
  let sentBytes = 0;
  let head = upload.envelope?.head;
  const stream = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          if (head) {
            controller.enqueue(head);
            head = undefined;
            return;
          }
          const next = await reader.read();
          if (abandoned) return;
          watch.moved();
          sentBytes += next.value?.byteLength ?? 0;
          if (sentBytes > upload.bytes || (next.done && sentBytes < upload.bytes)) throw changedSize(upload, sentBytes);
          onBytes(sentBytes);
          if (!next.done) return controller.enqueue(next.value);
          ended = true;
          if (upload.envelope) controller.enqueue(upload.envelope.tail);
          controller.close();
        } catch (cause) {
          failure = { cause };
          controller.error(cause);
        }
      },
      cancel() {
        abandoned = true;
      },
    },
    { highWaterMark: 0 },
  );
  return {
    stream,
    failure: () => failure,
    close() {
      // How the source takes it changes nothing: the request is over.
      if (!ended) reader.cancel().catch(() => undefined);
    },
  };
}

function changedSize(upload: Pick<Upload, "bytes">, sentBytes: number): IntegrityError {
  const mismatch = { what: "size", expected: String(upload.bytes), actual: String(sentBytes) };
  const direction = sentBytes > upload.bytes ? "more" : "fewer";
  return new IntegrityError(`a file changed while it was sent: ${direction} than ${upload.bytes} bytes`, mismatch);
}
