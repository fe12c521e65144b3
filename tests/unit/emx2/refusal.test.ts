/** What an answer that says no may bring into our words. */
import { expect, test } from "bun:test";
import { clientOf, rawServer } from "./raw-server.ts";

test("a token that an answer echoes is not taken into the error", async () => {
  const token = "MYSECRETTOKEN123456";
  await using server = await rawServer(({ headers }) => {
    const detail = `bad header x-molgenis-token: ${headers.get("x-molgenis-token")}`;
    const body = JSON.stringify({ title: "Bad Request", status: 400, detail });
    return `HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  });
  const client = clientOf(server, { credential: { mode: "token", secret: () => token } });
  const error = await client.readJob("j1", { attempts: 1 }).catch((cause: unknown) => cause);
  expect(String(error)).toContain("x-molgenis-token: [secret]");
  expect(JSON.stringify(error) + String(error)).not.toContain(token);
});
