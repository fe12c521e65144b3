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

/** A server that keeps no word: what it answers to each question after files from `offset` on. */
function fromServer(
  answer: (offset: number, asked: number) => { readonly paths: readonly string[]; readonly total: number },
) {
  let asked = 0;
  const fetch: Fetch = async (url, init) => {
    const { pathname, searchParams } = new URL(url);
    if (pathname.endsWith("/health")) return knownAs("2026-05")(url, init);
    asked += 1;
    if (asked > 100) throw new Error("it is asked without end");
    const { paths, total } = answer(Number(searchParams.get("offset")), asked);
    return Response.json({ items: paths.map((path) => ({ path })), total_count: total });
  };
  return Array.fromAsync(
    clientOf({ url: "http://emx2.test" }, { fetch }).listFiles(artifactId, limit, { attempts: 1 }),
  );
}

const some = (from: number, rows = 1_000) => Array.from({ length: rows }, (_, row) => `f${from + row}`);

test.each<[string, Parameters<typeof fromServer>[0], string, string]>([
  [
    "ignores the offset",
    () => ({ paths: some(0), total: 5_000 }),
    "ApiError",
    "the same files again after 1000 of 5000",
  ],
  ["gives more than it says", () => ({ paths: some(0), total: 999 }), "ApiError", "has 1000 files, and says 999"],
  [
    "says less each time",
    (offset, asked) => ({ paths: some(offset), total: 3_000 - asked * 600 }),
    "ApiError",
    "has 2000 files, and says 1800",
  ],
  [
    "ends early",
    (offset) => ({ paths: some(offset, offset === 0 ? 9 : 0), total: 10 }),
    "ApiError",
    "ended after 9 of 10",
  ],
  [
    "says more each time",
    (offset) => ({ paths: some(offset), total: offset + 2_000 }),
    "IntegrityError",
    "has 11000 files, at most 10000 are allowed",
  ],
])("a list of a server that %s has an end, and the error says why", async (_, answer, name, message) => {
  await expect(fromServer(answer)).rejects.toMatchObject({ name, message: expect.stringContaining(message) });
});

test.each([1.5, -1, "1e3", 2 ** 60])("a size of %p is no size", async (size_bytes) => {
  const fetch: Fetch = async () => Response.json({ items: [{ path: "a", size_bytes }], total_count: 1 });
  const pages = clientOf({ url: "http://emx2.test" }, { fetch }).listFiles(artifactId, limit, { attempts: 1 });
  await expect(Array.fromAsync(pages)).rejects.toMatchObject({ name: "ApiError" });
});
