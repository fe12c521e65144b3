/** Who sends: headers, signature, clock, nonce and token, and how each fault is refused. */
import { describe, expect, test } from "bun:test";
import { systemClock } from "../../../src/clock.ts";
import { sha256Hex, signature } from "../../../src/emx2/signature.ts";
import { conformance } from "./conformance.ts";
import { freshNonce, targetOf, type WireRequest } from "./wire-request.ts";

await conformance("sender", ({ sender, expected, call, processor, create, put, submit }) => {
  const jobs = (request: WireRequest) => call("GET", "/jobs?limit=1", request);

  test("/health answers whoever asks", async () => {
    const { status, json } = await call("GET", "/health", {
      as: "nobody",
      headers: { "X-EMX2-API-Version": null, "X-Request-Id": null, "X-Timestamp": null, "X-Worker-Id": null },
    });
    expect({ status, json }).toMatchObject({ status: 200, json: { status: "ok", api_version: "2025-01" } });
    expect("worker_auth_mode" in json).toBe(expected.healthNamesWorkerCredentials);
  });

  test("/health says that HPC is on, once somebody was let in", async () => {
    expect((await jobs({})).status).toBe(200);
    expect((await call("GET", "/health", { as: "nobody" })).json).toMatchObject({ hpc_enabled: true });
  });

  test.each([
    ["no X-EMX2-API-Version", { "X-EMX2-API-Version": null }, 400],
    ["another version", { "X-EMX2-API-Version": "2024-01" }, 400],
    ["no X-Request-Id", { "X-Request-Id": null }, 400],
    ["an X-Request-Id that is no UUID", { "X-Request-Id": "seven" }, expected.requestIdThatIsNoUuid],
    ["no X-Timestamp", { "X-Timestamp": null }, 400],
    ["an X-Timestamp that is no number", { "X-Timestamp": "noon" }, expected.timestampThatIsNoNumber],
    ["no X-Nonce", { "X-Nonce": null }, 401],
    ["no X-Worker-Id", { "X-Worker-Id": null }, expected.withoutWorkerId],
    ["a worker without a credential", { "X-Worker-Id": `ghost-${processor}` }, expected.unknownWorker],
    ["no Authorization", { Authorization: null }, 401],
    ["another scheme", { Authorization: "Bearer abc" }, 401],
    ["a token that is none", { Authorization: null, "x-molgenis-token": "no.token.at.all" }, 401],
  ])("%s", async (_fault, headers, status) => {
    const answer = await jobs({ headers });
    expect(answer.status).toBe(status);
    if (status === 200) return;
    if (expected.refusesSendersAsProblem) {
      expect(answer.headers["content-type"]).toBe("application/problem+json");
      expect(answer.json).toMatchObject({ type: "about:blank", status });
    } else expect(answer.json).toEqual({ errors: [{ message: expect.any(String) }] });
  });

  test.each([
    ["another secret", { secret: "another-secret-0123456789abcdef0123456789" }, 401],
    ["a clock 400 s behind", { aheadS: -400 }, 401],
    ["a clock 400 s ahead", { aheadS: 400 }, 401],
    ["a clock 290 s behind", { aheadS: -290 }, 200],
    ["a clock 290 s ahead", { aheadS: 290 }, 200],
    ["milliseconds for seconds", { aheadS: 999 * Math.floor(systemClock.wall() / 1_000) }, 401],
    ["the target signed without its query", { signed: { target: targetOf(sender, "/jobs") } }, 401],
    ["a nonce of 3,000 characters", { nonce: "a".repeat(3_000) + freshNonce() }, 200],
  ])("signed with %s", async (_fault, request, status) => {
    expect((await jobs(request)).status).toBe(status);
  });

  test("the signature is lower-case hex after the scheme as it is spelt, and no other", async () => {
    const spelt = async (spell: (hex: string) => string) => {
      const nonce = freshNonce();
      const timestamp = String(Math.floor(systemClock.wall() / 1_000));
      const target = targetOf(sender, "/jobs?limit=1");
      const hex = signature(sender.secret, { method: "GET", target, bodySha256: sha256Hex(""), timestamp, nonce });
      const headers = { "X-Timestamp": timestamp, "X-Nonce": nonce, Authorization: spell(hex) };
      return (await jobs({ headers })).status;
    };
    expect(await spelt((hex) => `HMAC-SHA256 ${hex}`)).toBe(200);
    expect(await spelt((hex) => `HMAC-SHA256 ${hex.toUpperCase()}`)).toBe(401);
    expect(await spelt((hex) => `hmac-sha256 ${hex}`)).toBe(401);
  });

  test("an error of the sender's names the request, one of its headers does not", async () => {
    const headers = { "X-Request-Id": systemClock.uuid(), "X-Trace-Id": systemClock.uuid() };
    const refused = await jobs({ headers, secret: "another-secret-0123456789abcdef0123456789" });
    const unnamed = await jobs({ headers: { ...headers, "X-Timestamp": null } });
    expect(refused.headers["x-trace-id"]).toBe(headers["X-Trace-Id"]);
    const instance = expected.refusesSendersAsProblem ? `urn:request:${headers["X-Request-Id"]}` : undefined;
    expect([refused.json["instance"], unnamed.json["instance"]]).toEqual([instance, undefined]);
  });

  describe("the three shapes that are signed", () => {
    test("JSON, in UTF-8", async () => {
      const profile = "médium";
      const jobId = await submit({ profile }, "worker");
      expect((await call("GET", `/jobs/${jobId}`)).json).toMatchObject({ id: jobId, profile });
      const json = { processor, profile };
      const latin1 = { "Content-Type": "application/json; charset=ISO-8859-1" };
      expect((await call("POST", "/jobs", { json, headers: latin1 })).status).toBe(401);
      expect((await call("POST", "/jobs", { json, signed: { body: "" } })).status).toBe(401);
    });

    test("a file, by its content hash or by nothing", async () => {
      const artifactId = await create();
      const other = expected.signsContentHash ? sha256Hex("") : sha256Hex("content");
      expect((await put(artifactId, "f", "content", { signed: { bodySha256: other } })).status).toBe(401);
      expect((await put(artifactId, "f", "content")).status).toBe(201);
    });

    test("a query, as it stands on the wire", async () => {
      const jobId = await submit();
      const ask = (query: string) => call("GET", `/jobs?${query}`);
      const encoded = processor.replace("c", "%63");
      for (const query of [`status=PENDING&processor=${processor}`, `processor=${encoded}&status=PEND%49NG`]) {
        const { status, json } = await ask(query);
        expect({ query, status, json }).toMatchObject({ status: 200, json: { items: [{ id: jobId }] } });
      }
      const swapped = { target: targetOf(sender, "/jobs?status=PENDING&limit=1") };
      expect((await call("GET", "/jobs?limit=1&status=PENDING", { signed: swapped })).status).toBe(401);
      expect((await call("GET", "/jobs?")).status).toBe(200);
      expect((await call("GET", "/jobs/")).status).toBe(200);
    });
  });

  test("Content-SHA256 where there is no body", async () => {
    const bodySha256 = sha256Hex("anything");
    const { status } = await jobs({ headers: { "Content-SHA256": bodySha256 }, signed: { bodySha256 } });
    expect(status).toBe(expected.contentHashSignedOnGet);
  });

  test("a request sent twice", async () => {
    const nonce = freshNonce();
    expect((await jobs({ nonce })).status).toBe(200);
    expect((await jobs({ nonce })).status).toBe(expected.replayed);
  });

  test("the nonce of a bad signature", async () => {
    const nonce = freshNonce();
    expect((await jobs({ nonce, secret: "another-secret-0123456789abcdef0123456789" })).status).toBe(401);
    expect((await jobs({ nonce })).status).toBe(expected.nonceOfBadSignature);
  });

  test("headers of more than 8 KB are refused before anything is read", async () => {
    expect((await jobs({ headers: { "X-Long": "a".repeat(9_000) } })).status).toBe(431);
  });

  test.each(["GET /nosuch", "GET /artifacts", "PATCH /jobs"])("there is no %s", async (line) => {
    const [method = "", path = ""] = line.split(" ");
    const { status, json } = await call(method, path);
    expect({ status, json }).toMatchObject({ status: 404, json: { errors: [{ message: expect.any(String) }] } });
  });

  test.each(["/jobs/nope/claim", "/artifacts/nope/commit"])("%s names no id", async (path) => {
    const { status, json } = await call("POST", path, { json: {} });
    expect({ status, json }).toMatchObject({ status: 400, json: { title: "Bad Request" } });
  });

  describe("a token", () => {
    test.skipIf(sender.token === undefined)("stands in for a signature", async () => {
      expect((await jobs({ as: "submitter" })).status).toBe(200);
    });

    test.skipIf(sender.token === undefined)("does not rescue a bad signature", async () => {
      const request: WireRequest = { headers: { "x-molgenis-token": sender.token ?? "" } };
      const bad = { ...request, secret: "another-secret-0123456789abcdef0123456789" };
      expect((await jobs(bad)).status).toBe(401);
    });
  });
});
