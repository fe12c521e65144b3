/** Lists that are not as they should be. */
import { describe, expect, test } from "bun:test";
import { type Answer, clientOf, healthOf, http, type RawServer, rawServer } from "./raw-server.ts";

const id = (index: number) => `550e8400-e29b-41d4-a716-${String(index).padStart(12, "0")}`;
const job = (index: number) => ({ id: id(index), processor: "p", status: "PENDING" });
const page = (items: unknown[], total?: number) => http(200, JSON.stringify({ items, total_count: total }));

describe("listJobs", () => {
  test("leaves jobs alone that cannot be read, says so, and reads the others", async () => {
    const hostile = { ...job(2), id: "../../\u001b[31metc" };
    await using server = await rawServer(page([job(1), hostile, 7, { ...job(4), status: "LOST" }, job(5)], 5));
    const list = await clientOf(server).listJobs({ status: "PENDING" });
    expect(list.jobs.map((found) => found.id)).toEqual([id(1), id(5)]);
    expect(list.total).toBe(5);
    expect(list.warnings).toHaveLength(3);
    for (const warning of list.warnings) expect(warning).not.toMatch(/\p{Cc}/u);
  });

  test("ends where the server tells no total, and where its pages run dry before it", async () => {
    await using untold = await rawServer(page([job(1), job(2)]), page([job(3)]));
    expect((await clientOf(untold).listJobs({ status: "PENDING", pageSize: 2 })).jobs).toHaveLength(3);
    await using dry = await rawServer(page([job(1), job(2)], 9), page([], 9));
    expect((await clientOf(dry).listJobs({ status: "PENDING", pageSize: 2 })).jobs).toHaveLength(2);
    expect(dry.received).toHaveLength(2);
  });

  test("ends where a server repeats one page for ever", async () => {
    await using server = await rawServer(page([job(1), job(2)], 1_000_000));
    const list = await clientOf(server).listJobs({ status: "PENDING", pageSize: 2, maxJobs: 20 });
    expect(list.jobs).toHaveLength(2);
    expect(server.received).toHaveLength(10);
  });

  test("asks for smaller pages where jobs are too large for one answer", async () => {
    const asked: number[] = [];
    const fetch = async (url: string) => {
      const parameters = new URL(url).searchParams;
      const [limit, offset] = [Number(parameters.get("limit")), Number(parameters.get("offset"))];
      asked.push(limit);
      if (limit > 4) return new Response("", { headers: { "Content-Length": String(65 * 2 ** 20) } });
      if (limit > 2) return new Response(" ".repeat(65 * 2 ** 20));
      const items = Array.from({ length: Math.min(limit, 5 - offset) }, (_, index) => job(offset + index));
      return Response.json({ items, total_count: 5 });
    };
    const list = await clientOf({ url: "http://emx2.test" }, { fetch }).listJobs({ status: "PENDING", pageSize: 8 });
    expect(list.jobs.map((found) => found.id)).toEqual([0, 1, 2, 3, 4].map(id));
    expect(asked).toEqual([8, 4, 2, 2, 2]);
  });

  /** A server whose every answer is in another order. */
  const shuffling = (count: number): Answer => {
    let asked = 0;
    return (request, socket) => {
      const parameters = new URL(request.target, "http://emx2.test").searchParams;
      const [limit, offset] = [Number(parameters.get("limit")), Number(parameters.get("offset"))];
      asked += 1;
      const rows = Array.from({ length: count }, (_, index) => job((index * 11 + asked * 13) % count));
      return page(rows.slice(offset, offset + limit), count)(request, socket);
    };
  };
  const limits = (server: RawServer) =>
    server.received.map(({ target }) => new URL(target, server.url).searchParams.get("limit"));

  test("asks 2026-02, whose pages are in no order, for everything in one", async () => {
    await using server = await rawServer(shuffling(350));
    server.health.answer = healthOf("2026-02");
    const client = clientOf(server);
    const list = await client.listJobs({ status: "PENDING", maxJobs: 5_000 });
    expect(list.jobs.map((found) => found.id).toSorted()).toEqual(Array.from({ length: 350 }, (_, index) => id(index)));
    expect(list.total).toBe(350);
    expect(limits(server)).toEqual(["100", "5000"]);
    await client.listJobs({ status: "PENDING", maxJobs: 5_000 });
    expect(server.health.asked).toBe(1);
  });

  test("asks for no more than is wanted, and for the generation only where there is more than a page", async () => {
    await using server = await rawServer(shuffling(350));
    server.health.answer = healthOf("2026-02");
    expect((await clientOf(server).listJobs({ status: "PENDING", maxJobs: 50 })).jobs).toHaveLength(50);
    expect(limits(server)).toEqual(["50"]);
    expect(server.health.asked).toBe(0);
  });

  test("goes by pages on 2026-05, which keeps its order", async () => {
    await using server = await rawServer(page([job(1), job(2)], 3), page([job(3)], 3));
    const list = await clientOf(server).listJobs({ status: "PENDING", pageSize: 2 });
    expect(list.jobs.map((found) => found.id)).toEqual([id(1), id(2), id(3)]);
    expect(limits(server)).toEqual(["2", "2"]);
  });
});
