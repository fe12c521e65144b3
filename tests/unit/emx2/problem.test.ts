import { expect, test } from "bun:test";
import { systemClock } from "../../../src/clock.ts";
import { cleanText, type Problem, readProblem } from "../../../src/emx2/problem.ts";

const latin1 = (text: string) => Buffer.from(text, "latin1");

test.each<[string, Uint8Array, Problem]>([
  [
    "a problem document",
    Buffer.from('{"title":"Conflict","status":404,"detail":"naïve 😀"}'),
    { form: "problem", title: "Conflict", detail: "naïve 😀" },
  ],
  [
    "one in ISO-8859-1",
    latin1('{"title":"Not Found","status":404,"detail":"Zoë"}'),
    { form: "problem", title: "Not Found", detail: "Zoë" },
  ],
  ["a gateway's, without detail", Buffer.from('{"title":"Not Found","status":404}'), { title: "Not Found" }],
  ["one about another status", Buffer.from('{"title":"No","status":409,"detail":"x"}'), { title: "No", detail: "x" }],
  [
    "a list of errors",
    Buffer.from('{"errors":[{"message":"no"},{"message":"never"}]}'),
    { form: "errors", detail: "no" },
  ],
  ["JSON of another make", Buffer.from('{"title":7,"detail":null,"errors":"x"}'), {}],
  ["a titled page", latin1("<!doctype html>\n<TITLE>502 Bad Gateway </TITLE><p>…"), { title: "502 Bad Gateway" }],
  [
    "a page without",
    Buffer.from("<style>a{}</style><h1>Bad  Message</h1><pre>why</pre>"),
    { title: "Bad Message why" },
  ],
  ["plain text", Buffer.from("upstream down\n"), { title: "upstream down" }],
  ["nothing", Buffer.from(""), {}],
])("reads %s", (_name, body, problem) => {
  expect(readProblem(body, 404)).toEqual(problem);
});

test("cuts and cleans what would play with a terminal", () => {
  const title = `\u001b[31mred\u0007\r\nnext\u202egnol\u2028${"x".repeat(300)}`;
  const read = readProblem(Buffer.from(JSON.stringify({ title })), 404).title ?? "";
  expect(read).toStartWith("[31mred next gnol x");
  expect(read).toHaveLength(200);
  expect(cleanText("😀😀", 2)).toBe("\ufffd…");
});

test("does not take long over hostile pages", () => {
  const startedAt = systemClock.mono();
  readProblem(Buffer.from("<script".repeat(100_000)), 502);
  readProblem(Buffer.from("<".repeat(700_000)), 502);
  expect(systemClock.mono() - startedAt).toBeLessThan(500);
});
