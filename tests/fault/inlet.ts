/** What comes in on a socket, taken in the pieces that a reader of a protocol asks for. */
import type { Socket } from "node:net";

/** A sender waits while so much has not been taken. */
const maxWaitingBytes = 1024 * 1024;

export class Inlet {
  readonly #socket: Socket | undefined;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #ended = false;
  #wake = () => {};

  /** Bytes: they have come already. */
  constructor(source: Socket | Buffer) {
    if (Buffer.isBuffer(source)) {
      this.#take(source);
      this.#ended = true;
      return;
    }
    this.#socket = source;
    source.on("data", (chunk: Buffer) => this.#take(chunk));
    const end = () => {
      this.#ended = true;
      this.#wake();
    };
    for (const event of ["end", "close", "error"]) source.on(event, end);
  }

  /** All until the empty line, with it. undefined: the socket ended before. */
  async head(): Promise<Buffer | undefined> {
    for (;;) {
      const all = Buffer.concat(this.#waiting);
      this.#waiting = [all];
      const end = all.indexOf("\r\n\r\n");
      if (end >= 0) return this.#give(end + 4);
      if (!(await this.#more())) return undefined;
    }
  }

  /** At least one byte and at most so many. undefined: the socket has ended. */
  async some(maxBytes: number): Promise<Buffer | undefined> {
    while (this.#waitingBytes === 0) if (!(await this.#more())) return undefined;
    return this.#give(Math.min(maxBytes, this.#waitingBytes));
  }

  /** Fewer where the socket ends before. */
  async exactly(bytes: number): Promise<Buffer> {
    const pieces: Buffer[] = [];
    for (let left = bytes; left > 0; ) {
      const piece = await this.some(left);
      if (piece === undefined) break;
      pieces.push(piece);
      left -= piece.length;
    }
    return Buffer.concat(pieces);
  }

  #take(chunk: Buffer): void {
    this.#waiting.push(chunk);
    this.#waitingBytes += chunk.length;
    if (this.#waitingBytes > maxWaitingBytes) this.#socket?.pause();
    this.#wake();
  }

  #give(bytes: number): Buffer {
    const all = this.#waiting.length === 1 ? (this.#waiting[0] ?? Buffer.of()) : Buffer.concat(this.#waiting);
    this.#waiting = bytes < all.length ? [all.subarray(bytes)] : [];
    this.#waitingBytes -= bytes;
    if (this.#waitingBytes <= maxWaitingBytes) this.#socket?.resume();
    return all.subarray(0, bytes);
  }

  /** Waits for the next chunk. */
  async #more(): Promise<boolean> {
    const before = this.#waitingBytes;
    while (this.#waitingBytes === before && !this.#ended) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#waitingBytes > before;
  }
}

/** false: nobody takes it any more. */
export function write(socket: Socket, bytes: Buffer): Promise<boolean> {
  return new Promise((resolve) => {
    const gone = () => resolve(false);
    if (socket.destroyed) return gone();
    socket.once("close", gone);
    socket.write(bytes, (error) => {
      socket.off("close", gone);
      resolve(!error);
    });
  });
}
