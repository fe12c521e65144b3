import { expect, test } from "bun:test";
import { sha256Hex, signature } from "../../../src/emx2/signature.ts";

const secret = "contract-secret-0123456789abcdef0123456789";

test.each([
  [
    "a JSON body",
    {
      method: "POST",
      target: "/api/hpc/jobs",
      bodySha256: sha256Hex('{"processor":"embed","profile":"gpu-medium"}'),
      timestamp: 1735689600,
      nonce: "0123456789abcdef0123456789abcdef",
    },
    "f5e577a37a695d5ac15bc4757bdc10dec7e52b3942e5be24e580ba95d7ad8842",
  ],
  [
    "a file by its content hash",
    {
      method: "PUT",
      target: "/api/hpc/artifacts/550e8400-e29b-41d4-a716-446655440000/files/results/output.bin",
      bodySha256: "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9",
      timestamp: "1735689605",
      nonce: "fedcba9876543210fedcba9876543210",
    },
    "934dac787d56427cf7f6624a52248e90b7c96b81840790c4bcb0402377a7cdde",
  ],
  [
    "a query without body",
    {
      method: "GET",
      target: "/api/hpc/jobs?status=PENDING&limit=10",
      bodySha256: sha256Hex(""),
      timestamp: 1735689610,
      nonce: "00112233445566778899aabbccddeeff",
    },
    "85462cb5b2c90e7a741aa8afff3d6cdd5ec482c75d4e841c333a2e442873ad23",
  ],
])("signs %s as EMX2 does", (_name, request, expected) => {
  expect(signature(secret, request)).toBe(expected);
});
