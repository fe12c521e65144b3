/** TLS and proxies, over real sockets. */
import { describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { networkFault } from "../../../src/emx2/network.ts";
import { NetworkError } from "../../../src/errors.ts";
import { makeCertificate } from "./loopback-certificate.ts";
import { clientOf, faultOf, http, rawServer } from "./raw-server.ts";

const source = (path: string) => join(import.meta.dir, "../../../src", path);

const made = makeCertificate();
const { certificate, key } = made ?? { certificate: "", key: "" };
const withOpenssl = test.skipIf(made === undefined);

function tlsServer() {
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    tls: { key, cert: certificate },
    fetch: () => Response.json({ worker_id: "w1", status: "ok" }),
  });
  return { url: server.url.origin, [Symbol.asyncDispose]: () => server.stop(true) };
}

describe("TLS", () => {
  withOpenssl("of an unknown authority is refused, and nothing was delivered", async () => {
    await using server = tlsServer();
    const error = await faultOf(clientOf(server).heartbeat({ attempts: 1 }));
    expect(error).toBeInstanceOf(NetworkError);
    expect(error).toMatchObject({ failure: { code: "DEPTH_ZERO_SELF_SIGNED_CERT", maybeDelivered: false } });
    expect(String(error)).toContain(`the certificate of ${new URL(server.url).host} comes from an authority that`);
    expect(String(error)).toContain("emx2.ca_file");
  });

  withOpenssl("of the configured authority is trusted", async () => {
    await using server = tlsServer();
    expect(await clientOf(server, { ca: certificate }).heartbeat()).toBe("ok");
  });

  withOpenssl("with a configured authority keeps those that the system trusts", async () => {
    await using server = tlsServer();
    const directory = await mkdtemp(join(tmpdir(), "emx2-ca-"));
    try {
      const trusted = join(directory, "trusted.pem");
      await Bun.write(trusted, certificate);
      const heartbeat = `
        const { systemClock } = await import("${source("clock.ts")}");
        const { createClient } = await import("${source("emx2/client.ts")}");
        const { rootCertificates } = await import("node:tls");
        const credential = { mode: "token", secret: () => "t" };
        const options = { baseUrl: "${server.url}", workerId: "w1", credential, clock: systemClock };
        console.log(await createClient({ ...options, ca: rootCertificates[0] }).heartbeat({ attempts: 1 }));`;
      const child = Bun.spawn([process.execPath, "-e", heartbeat], {
        env: { SSL_CERT_FILE: trusted },
        stdout: "pipe",
        stderr: "pipe",
      });
      const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
      expect({ stdout, stderr }).toEqual({ stdout: "ok\n", stderr: "" });
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  test("towards a server that does not speak it is refused, and nothing was delivered", async () => {
    const server = createServer((socket) => {
      socket.on("error", () => socket.destroy());
      socket.end("HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    if (address === null || typeof address === "string") return expect.unreachable();
    const error = await faultOf(clientOf({ url: `https://127.0.0.1:${address.port}` }).heartbeat({ attempts: 1 }));
    server.close();
    expect(error).toMatchObject({ failure: { code: "EPROTO", maybeDelivered: false } });
  });
});

describe("a host that can not be reached", () => {
  test("is named with its port where it refuses, with what to check", async () => {
    const server = await rawServer(http(200, "{}"));
    await server[Symbol.asyncDispose]();
    const error = await faultOf(clientOf(server).heartbeat({ attempts: 1 }));
    const { host } = new URL(server.url);
    expect(String(error)).toEndWith(
      `${host} refuses connections; check emx2.base_url, and that EMX2 is running (ECONNREFUSED)`,
    );
  });

  test.each([
    ["ENOTFOUND", "the name of emx2.example.org cannot be resolved; check emx2.base_url"],
    ["EHOSTUNREACH", "there is no way from this network to emx2.example.org"],
    ["CERT_HAS_EXPIRED", "the certificate of emx2.example.org is not valid at this time; have it renewed"],
    ["ERR_TLS_CERT_ALTNAME_INVALID", "the certificate is not for emx2.example.org; use in emx2.base_url the name"],
    ["ERR_PROXY_TUNNEL", "the proxy (HTTPS_PROXY) does not let us through to emx2.example.org"],
  ])("is named with the reason and the next step: %s", (code, words) => {
    const cause = Object.assign(new Error("unfriendly words"), { code });
    const request = { method: "GET", url: new URL("https://emx2.example.org/api/hpc/jobs") };
    const fault = networkFault(cause, request, undefined);
    expect(fault).toMatchObject({ failure: { code, maybeDelivered: false } });
    expect(String(fault)).toContain(`no answer from emx2.example.org to GET /api/hpc/jobs: ${words}`);
    expect(String(fault)).toEndWith(`(${code})`);
  });
});

describe("HTTP_PROXY", () => {
  test("is not asked for a server on loopback", async () => {
    await using server = await rawServer(http(200, '{"worker_id":"w1"}'));
    const { HTTP_PROXY: before } = process.env;
    Object.assign(process.env, { HTTP_PROXY: "http://127.0.0.1:9" });
    try {
      expect(await clientOf(server).heartbeat({ attempts: 1 })).toBe("ok");
      const elsewhere = clientOf({ url: "http://emx2.invalid" }).heartbeat({ attempts: 1 });
      expect(String(await faultOf(elsewhere))).toContain("ECONNREFUSED");
    } finally {
      if (before === undefined) Reflect.deleteProperty(process.env, "HTTP_PROXY");
      else Object.assign(process.env, { HTTP_PROXY: before });
    }
  });
});
