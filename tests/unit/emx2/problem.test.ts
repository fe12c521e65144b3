import { expect, test } from "bun:test";
import { systemClock } from "../../../src/clock.ts";
import { cleanText, readProblem } from "../../../src/emx2/problem.ts";

const latin1 = (text: string) => Buffer.from(text, "latin1");

test.each([
  [
    "a problem document",
    Buffer.from('{"title":"Conflict","detail":"naïve 😀"}'),
    { title: "Conflict", detail: "naïve 😀" },
  ],
  ["one in ISO-8859-1", latin1('{"title":"Not Found","detail":"Zoë"}'), { title: "Not Found", detail: "Zoë" }],
  ["a list of errors", Buffer.from('{"errors":[{"message":"no"},{"message":"never"}]}'), { detail: "no" }],
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
  expect(readProblem(body)).toEqual(problem);
});

test("cuts and cleans what would play with a terminal", () => {
  const title = `\u001b[31mred\u0007\r\nnext\u202egnol\u2028${"x".repeat(300)}`;
  const read = readProblem(Buffer.from(JSON.stringify({ title }))).title ?? "";
  expect(read).toStartWith("[31mred next gnol x");
  expect(read).toHaveLength(200);
  expect(cleanText("😀😀", 2)).toBe("\ufffd…");
});

test("does not take long over hostile pages", () => {
  const startedAt = systemClock.mono();
  readProblem(Buffer.from("<script".repeat(100_000)));
  readProblem(Buffer.from("<".repeat(700_000)));
  expect(systemClock.mono() - startedAt).toBeLessThan(500);
});
