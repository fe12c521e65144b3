/**
 * One request on its way through the server: what the headers and the target say, who sent it, and its body, read at most
 * once and only when somebody asks, since too large an upload is refused before a byte of it is read.
 */
import type { Principal } from "./authentication.ts";
import type { EmulatorState } from "./state.ts";

export interface Exchange {
  readonly state: EmulatorState;
  /** Wall clock, milliseconds. */
  readonly now: number;
  readonly method: string;
  /** Path and query as they stand on the wire. */
  readonly target: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Headers;
  readonly requestId: string;
  readonly body: () => Promise<Uint8Array<ArrayBuffer>>;
  /** The same bytes one after the other, for whoever asks in place of `body`. */
  readonly stream: () => ReadableStream<Uint8Array>;
}

/** An exchange that has passed authentication and found its route. `id`, `worker`, `file`: parts of its path, decoded. */
export interface Call extends Exchange {
  readonly principal: Principal;
  readonly params: { readonly id: string; readonly worker: string; readonly file: string };
}

export function openExchange(state: EmulatorState, request: Request, target: string, now: number): Exchange {
  const [path = "", ...query] = target.split("?");
  let body: Promise<Uint8Array<ArrayBuffer>> | undefined;
  return {
    state,
    now,
    method: request.method,
    target,
    path,
    query: new URLSearchParams(query.join("?")),
    headers: request.headers,
    requestId: request.headers.get("x-request-id") ?? "",
    body: () => {
      body ??= request.arrayBuffer().then((buffer) => new Uint8Array(buffer));
      return body;
    },
    stream: () => request.body ?? new Blob([]).stream(),
  };
}
