/**
 * Why EMX2, or whatever stands in front of it, said no: a problem document (RFC 9457), `{"errors":[{"message"}]}`, or a
 * proxy's HTML. Which of these it was tells whose word it is. The words are strangers' words and end up in logs and on terminals, so they are cut and cleaned here.
 */
import * as v from "valibot";

export interface Problem {
  /** Absent: neither of EMX2's own forms. */
  readonly form?: "problem" | "errors";
  readonly title?: string;
  readonly detail?: string;
}

const maxTitleChars = 200;
const maxDetailChars = 1_000;

const text = v.fallback(v.optional(v.string(), ""), "");
const schema = v.object({
  title: text,
  detail: text,
  status: v.fallback(v.optional(v.number()), undefined),
  errors: v.fallback(v.optional(v.array(v.object({ message: v.string() })), []), []),
});

/** `status`: of the answer, which a problem document of EMX2's repeats; gateways that write such documents mostly do not detail. */
export function readProblem(body: Uint8Array, status: number): Problem {
  const words = decodeText(body);
  const json = parseObject(words);
  const title = cleanText(json ? json.title : plainText(words), maxTitleChars);
  const detail = cleanText(json?.detail || json?.errors[0]?.message || "", maxDetailChars);
  const form = json && formOf(json, status);
  return { ...(form && { form }), ...(title && { title }), ...(detail && { detail }) };
}

function formOf(json: v.InferOutput<typeof schema>, status: number): Problem["form"] {
  if (json.title && json.detail && json.status === status) return "problem";
  return json.errors.length > 0 ? "errors" : undefined;
}

/** UTF-8, or else ISO-8859-1: EMX2 sends problem documents in that, whatever their header says. */
function decodeText(body: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(body);
  } catch {
    return Buffer.from(body).toString("latin1");
  }
}

/** One line without control, bidirectional and line-breaking characters, at most `maxChars` long. */
export function cleanText(text: string, maxChars: number): string {
  const line = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, " ").trim();
  return line.length > maxChars ? `${line.slice(0, maxChars - 1).toWellFormed()}…` : line;
}

function parseObject(words: string): v.InferOutput<typeof schema> | null {
  try {
    const parsed = v.safeParse(schema, JSON.parse(words));
    return parsed.success ? parsed.output : null;
  } catch {
    return null;
  }
}

/** Enough of a page for its message, and little enough for the patterns below on hostile text. */
const maxPageChars = 4_096;

/** A page's title, or else what is left of it without its tags. */
function plainText(page: string): string {
  const start = page.slice(0, maxPageChars);
  const title = /<title[^>]*>([^<]*)/i.exec(start)?.[1]?.trim();
  return title || start.replace(/<(script|style)\b.*?<\/\1>/gis, " ").replace(/<[^>]*>/g, " ");
}
