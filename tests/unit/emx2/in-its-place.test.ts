/** Who spoke: EMX2 itself, switched off, or somebody in its place. What concerns every request is told from what concerns one. */
import { describe, expect, test } from "bun:test";
import { concernsAll } from "../../../src/emx2/retry.ts";
import { ApiError } from "../../../src/errors.ts";
import { clientOf, faultOf, http, rawServer } from "./raw-server.ts";

const html = { "Content-Type": "text/html; charset=utf-8" };
const problem = '{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"HPC is not enabled"}';

async function refusalOf(answer: ReturnType<typeof http>): Promise<ApiError> {
  await using server = await rawServer(answer, answer, answer, answer);
  const error = await faultOf(clientOf(server).readJob("j1"));
  if (!(error instanceof ApiError)) throw error;
  return error;
}

describe("an answer in place of a job", () => {
  test("that is a web page is a success of nobody's: all that is asked would meet it", async () => {
    const error = await refusalOf(http(200, "<html><title>Sign in</title>", html));
    expect(error.answer).toMatchObject({ status: 200, isPage: true });
    expect(error.message).toContain("a web page, and so from somebody in front of EMX2");
    expect(concernsAll(error)).toBe(true);
  });

  test("that is JSON of another shape concerns this job alone", async () => {
    const error = await refusalOf(http(200, '{"id":"j1"}'));
    expect(error.answer.isPage).toBeUndefined();
    expect(concernsAll(error)).toBe(false);
  });

  test("that says HPC is switched off comes with who switches it on, and a gateway's 503 without", async () => {
    const off = await refusalOf(http(503, problem, { "Content-Type": "application/problem+json" }));
    expect(off.message).toContain("HPC is not enabled; its HPC interface is switched off: whoever runs EMX2");
    const gateway = await refusalOf(http(503, "<h1>Service Unavailable</h1>", html));
    expect(gateway.message).not.toContain("switched off");
    expect([concernsAll(off), concernsAll(gateway)]).toEqual([true, true]);
  });
});
