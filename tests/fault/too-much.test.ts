/** A body that EMX2 can not take, whatever it answers, is not sent for days: after ten times a person is waited for. */
import { expect, test } from "bun:test";
import { openStage } from "../integration/harness.ts";

/** Ten pauses, which double up to a minute, and what lies between. */
const tenPausesMs = 400_000;
const bytes = 12_000_000;

test(
  "after ten times it waits for retry, and is not sent meanwhile",
  async () => {
    const program = `head -c ${bytes} /dev/zero >"$HPC_OUTPUT_DIR/big.bin"`;
    await using stage = await openStage({ profiles: { big: { program } } });
    let sent = 0;
    stage.around = async (request, answer) => {
      if (request.method !== "PUT" || Number(request.headers.get("content-length")) < bytes) return answer();
      sent += 1;
      return new Response("upstream timed out", { status: 504 });
    };
    const id = stage.submit("big");
    stage.start("run");
    const rowOf = async () => {
      const { stdout } = await stage.start("status", "--json").ended();
      const { jobs } = JSON.parse(stdout || "{}") as { jobs?: { jobId: string; why: string; nextAt: string }[] };
      return jobs?.find(({ jobId }) => jobId === id);
    };
    await stage.until("it was sent ten times", () => sent === 10, tenPausesMs);
    const row = await stage.until("status tells", async () => {
      const shown = await rowOf();
      return shown?.why.includes("waits for `retry") ? shown : undefined;
    });
    expect(row.why).toContain(
      `waits for \`retry ${id}\`, since EMX2 has not taken it 10 times; "big.bin" of ${bytes} bytes`,
    );
    // The last try is made when upload_retry is over.
    expect(Date.parse(row.nextAt)).toBeGreaterThan(performance.timeOrigin + 71 * 3_600_000);
    expect(sent).toBe(10);
    expect(stage.job(id).status).toBe("STARTED");
  },
  tenPausesMs + 60_000,
);
