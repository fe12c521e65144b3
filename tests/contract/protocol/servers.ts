/**
 * The servers that the suite is run against: the emulator in both generations, or, where `EMX2_CONFORMANCE_URL` names one,
 * that server alone. See README.md.
 */
import { readFileSync } from "node:fs";
import { systemClock } from "../../../src/clock.ts";
import { serve } from "../../../src/emulator/serve.ts";
import { addSharedSecret, addToken, addWorkerCredential } from "../../../src/emulator/submitter.ts";

export interface ServerUnderTest {
  readonly name: string;
  readonly url: string;
  readonly workerId: string;
  readonly secret: string;
  readonly token?: string;
  stop(): Promise<void>;
}

export async function openServers(env: Record<string, string | undefined> = process.env): Promise<ServerUnderTest[]> {
  const named = namedServer(env);
  if (named !== undefined) return [named];
  return Promise.all([openEmulator("2026-02"), openEmulator("2026-05")]);
}

const prefix = "EMX2_CONFORMANCE_";

function namedServer(env: Record<string, string | undefined>): ServerUnderTest | undefined {
  const names = ["URL", "WORKER_ID", "SECRET_FILE", "TOKEN_FILE"].map((name) => prefix + name);
  const [url, workerId, secretFile, tokenFile] = names.map((name) => env[name] || undefined);
  if ([url, workerId, secretFile, tokenFile].every((value) => value === undefined)) return undefined;
  if (url === undefined || workerId === undefined || secretFile === undefined) {
    const missing = names.slice(0, 3).filter((name) => !env[name]);
    throw new Error(`the conformance suite needs ${missing.join(" and ")} too; see tests/contract/protocol/README.md`);
  }
  const token = tokenFile === undefined ? undefined : contentOf(tokenFile);
  const secret = contentOf(secretFile);
  return { name: "the named server", url, workerId, secret, ...(token && { token }), stop: async () => undefined };
}

function contentOf(file: string): string {
  const content = readFileSync(file, "utf8").trim();
  if (content === "") throw new Error(`${file} is empty`);
  return content;
}

async function openEmulator(generation: "2026-02" | "2026-05"): Promise<ServerUnderTest> {
  const { url, state, stop } = await serve({ clock: systemClock, generation });
  const own = { workerId: "conformance", secret: "conformance-secret-0123456789abcdef", token: "conformance-token" };
  if (generation === "2026-02") addSharedSecret(state, own.secret);
  else addWorkerCredential(state, own.workerId, own.secret);
  addToken(state, own.token, "submitter", "editor");
  return { name: `the emulator, ${generation}`, url, ...own, stop };
}
