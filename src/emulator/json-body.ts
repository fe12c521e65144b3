/** A JSON body and how its members are read, each with the refusal that the server has for what it did not expect. */
import { memberText } from "../job/raw-json.ts";
import type { Exchange } from "./exchange.ts";
import { badRequest, contentTooLarge, type Refusal, serverError, unforeseen } from "./refusals.ts";

/** Above this no JSON is read. */
const maxJsonBytes = 10_000_000;

/** A JSON body, with accessors that refuse as the server does. */
export interface JsonBody {
  /** A string member, or null; anything but a string is not foreseen. */
  text(name: string, maxCharacters?: number): string | null;
  integer(name: string): number | null;
  value(name: string): unknown;
  /** The member's source text; null where it is absent or `null`. */
  source(name: string): string | null;
}

export async function readJson(call: Exchange): Promise<JsonBody> {
  const bytes = await call.body();
  const { blamesTheBody } = call.state.settings.generation;
  if (bytes.length > maxJsonBytes) throw blamesTheBody ? unforeseen(call.requestId) : contentTooLarge();
  const text = new TextDecoder().decode(bytes);
  const body = parse(text, (fault) =>
    blamesTheBody ? badRequest(`Invalid request body: ${fault}`) : serverError(fault),
  );
  const value = (name: string) => (Object.hasOwn(body, name) ? body[name] : null) ?? null;
  return {
    value,
    text(name, maxCharacters = 1_024) {
      const found = value(name);
      if (found === null) return null;
      if (typeof found !== "string") throw unforeseen(call.requestId);
      if (found.length > maxCharacters) throw badRequest(`${name} must be at most ${maxCharacters} characters`);
      return found;
    },
    integer(name) {
      const found = value(name);
      if (found === null) return null;
      if (typeof found !== "number") throw unforeseen(call.requestId);
      return Math.trunc(found);
    },
    source: (name) => (value(name) === null ? null : (memberText(text, [name]) ?? null)),
  };
}

/** The words after the colon are those of the server's JSON reader, for the faults that were seen. */
function parse(text: string, refusal: (fault: string) => Refusal): Record<string, unknown> {
  if (text.trim() === "") throw refusal("No content to map due to end-of-input");
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw refusal(syntaxFault(text));
  }
  if (Array.isArray(body)) {
    const map = "java.util.LinkedHashMap<java.lang.Object,java.lang.Object>";
    const token = "Array value (token `JsonToken.START_ARRAY`)";
    throw refusal(`Cannot deserialize value of type \`${map}\` from ${token}`);
  }
  if (typeof body !== "object" || body === null) throw refusal("not an object");
  return body as Record<string, unknown>;
}

function syntaxFault(text: string): string {
  const stray = /^\s*\{\s*([^\s"}])/u.exec(text)?.[1];
  if (stray === undefined) return "malformed JSON";
  const code = `'${stray}' (code ${stray.codePointAt(0)})`;
  return `Unexpected character (${code}): was expecting double-quote to start field name`;
}
