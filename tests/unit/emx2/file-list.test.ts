/** Lists of an artifact's files that are longer than a page, from a server that keeps no order between pages. */
import { expect, test } from "bun:test";
import type { Fetch } from "../../../src/emx2/client.ts";
import type { Generation } from "../../../src/emx2/generation.ts";
import { clientOf, knownAs } from "./raw-server.ts";

const artifactId = "550e8400-e29b-41d4-a716-446655440000";
const count = 2_500;
const limit = { maxFiles: 10_000 };

/** Each answer begins at another row, and one of more than `mostRows` is too long to be read. */
function shuffling(generation: Generation, mostRows = count): { fetch: Fetch; limits: string[] } {
  const limits: string[] = [];
  const fetch: Fetch = async (url, init) => {
    const { pathname, searchParams } = new URL(url);
    if (pathname.endsWith("/health")) return knownAs(generation)(url, init);
    const [limit, offset] = [Number(searchParams.get("limit")), Number(searchParams.get("offset"))];
    limits.push(`${limit}@${offset}`);
    if (limit > mostRows) return new Response("", { headers: { "Content-Length": String(65 * 2 ** 20) } });
    const shift = generation === "2026-02" ? limits.length * 700 : 0;
    const rows = Array.from({ length: count }, (_, row) => ({ path: `f${(row + shift) % count}` }));
    return Response.json({ items: rows.slice(offset, offset + limit), total_count: count });
  };
  return { fetch, limits };
}

const listed = async (fetch: Fetch) => {
  const pages = clientOf({ url: "http://emx2.test" }, { fetch }).listFiles(artifactId, limit);
  return new Set((await Array.fromAsync(pages)).flat().map(({ path }) => path)).size;
};

test("is read whole from 2026-02", async () => {
  const { fetch, limits } = shuffling("2026-02");
  expect(await listed(fetch)).toBe(count);
  expect(limits).toEqual(["1000@0", "2500@0"]);
});

test("is read by pages from 2026-05", async () => {
  const { fetch, limits } = shuffling("2026-05");
  expect(await listed(fetch)).toBe(count);
  expect(limits).toEqual(["1000@0", "1000@1000", "1000@2000"]);
});

test("is read by pages where the whole is too long for one answer", async () => {
  const { fetch, limits } = shuffling("2026-02", 1_000);
  await listed(fetch);
  expect(limits).toEqual(["1000@0", "2500@0", "1000@0", "1000@1000", "1000@2000"]);
});
