/**
 * How the server says no. Leaves throw a Refusal and `handle` writes it down, mostly as a problem document. A problem is
 * encoded as ISO-8859-1 although its type means UTF-8 (seen on 2026-05); what that alphabet lacks becomes `?`.
 */
import type { Answer } from "./answer.ts";

export class Refusal extends Error {
  override name = "Refusal";
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(detail);
  }
}

/** What the web framework refuses before any endpoint sees it. */
export class FrameworkRefusal extends Error {
  override name = "FrameworkRefusal";
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

export const badRequest = (detail: string) => new Refusal(400, "Bad Request", detail);
export const unauthorized = (detail: string) => new Refusal(401, "Unauthorized", detail);
export const forbidden = (detail: string) => new Refusal(403, "Forbidden", detail);
export const notFound = (detail: string) => new Refusal(404, "Not Found", detail);
export const conflict = (detail: string) => new Refusal(409, "Conflict", detail);
export const serverError = (detail: string) => new Refusal(500, "Internal Server Error", detail);
/** Of 2026-02, for any body that it does not read to its end. */
export const contentTooLarge = () =>
  new Refusal(500, "Internal Server Error", "Content Too Large", { connection: "close" });

/** What the server did not foresee: a 500 that names nothing but the request. */
export function unforeseen(requestId: string): Refusal {
  return serverError(`Internal error processing request; check server logs with request id ${requestId}`);
}

/** `requestId` is absent where the headers themselves are refused. */
export function problem(refusal: Refusal, requestId?: string): Answer {
  const { status, title, detail } = refusal;
  const instance = requestId === undefined ? undefined : `urn:request:${requestId}`;
  return {
    status,
    headers: { "content-type": "application/problem+json", ...refusal.headers },
    body: latin1(JSON.stringify({ type: "about:blank", title, status, detail, instance })),
  };
}

/** The web framework's own form of an error. */
export function frameworkError({ status, message }: FrameworkRefusal): Answer {
  const body = `{\n  "errors" : [\n    {\n      "message" : ${JSON.stringify(message)}\n    }\n  ]\n}`;
  return { status, headers: { "content-type": "application/json" }, body: new TextEncoder().encode(body) };
}

function latin1(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(Array.from(text), (character) => {
    const code = character.codePointAt(0) ?? 0;
    return code <= 0xff ? code : 0x3f;
  });
}
