/** A self-signed certificate for 127.0.0.1, made when it is needed: no key is worth keeping, not even a test's. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Certificate {
  readonly certificate: string;
  readonly key: string;
}

/** undefined: this machine has no openssl. Throws where it has one that fails. */
export function makeCertificate(): Certificate | undefined {
  const openssl = Bun.which("openssl");
  if (openssl === null) return undefined;
  const dir = mkdtempSync(join(tmpdir(), "emx2-certificate-"));
  const [certificate, key] = [join(dir, "certificate.pem"), join(dir, "key.pem")];
  try {
    const made = Bun.spawnSync([
      ...[openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
      ...["-subj", "/CN=emx2 test authority", "-addext", "subjectAltName=IP:127.0.0.1"],
      ...["-days", "2", "-keyout", key, "-out", certificate],
    ]);
    if (!made.success) throw new Error(`openssl made no certificate: ${made.stderr}`);
    return { certificate: readFileSync(certificate, "utf8"), key: readFileSync(key, "utf8") };
  } finally {
    rmSync(dir, { recursive: true });
  }
}
