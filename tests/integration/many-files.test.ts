/**
 * The daemon is killed in the middle of very many files: the next one goes on where that one was, and asks or sends again
 * only what it can not know. All of it is counted at the server.
 */
import { expect, test } from "bun:test";
import { artifactsOf, committed, sha256Of } from "./committed.ts";
import { openStage, type Stage } from "./harness.ts";

const files = 10_000;
/** What is known of files is written down in groups. */
const groupFiles = 100;
/** At most, all together. */
const requestsInFlight = 64;
const atMost = files + groupFiles + requestsInFlight;
const boundMs = 180_000;
const testMs = 300_000;
const shell = ["run", "--backend", "shell"] as const;

const names = Array.from({ length: files }, (_, index) => `${Math.floor(index / 100)}/${index}`);
const makes = `
  cd "$HPC_OUTPUT_DIR"
  i=0
  while [ $i -lt ${files} ]; do
    [ $((i % 100)) -ne 0 ] || mkdir $((i / 100))
    echo $i >$((i / 100))/$i
    i=$((i + 1))
  done`;
const counts = `
  cd "$HPC_INPUT_DIR"/*
  find . -type f | sort -t / -k 3n | xargs cat >"$HPC_OUTPUT_DIR/all"`;

/** Kills the daemon once half of all is through, and starts another. Gives how many requests that one had to make. */
async function dieHalfway(stage: Stage, count: () => number): Promise<void> {
  const first = stage.start(...shell);
  await stage.until("half of the files are through", () => count() >= files / 2, boundMs);
  first.kill("SIGKILL");
  expect((await first.ended()).exitCode).toBe(137);
  expect(count()).toBeLessThan(files);
  stage.start(...shell);
}

test(
  `SIGKILL in the middle of ${files} outputs: what is missing is sent, and at most a group once more`,
  async () => {
    await using stage = await openStage({ profiles: { makes: { program: makes } } });
    const id = stage.submit("makes");
    const puts = () => {
      const [output] = artifactsOf(stage, "output", id);
      const path = `PUT /api/hpc/artifacts/${output?.id}/files/`;
      return stage.requests.filter((asked) => asked.startsWith(path)).length;
    };
    await dieHalfway(stage, puts);
    await stage.untilStatus(id, "COMPLETED", boundMs);
    console.log(`${files} outputs, killed halfway: ${puts()} sent`);
    expect(puts()).toBeLessThanOrEqual(atMost);
    expect(artifactsOf(stage, "output", id).map(({ status }) => status)).toEqual(["COMMITTED"]);
    const held = committed(stage, stage.job(id).outputArtifactId);
    expect(held.size).toBe(files);
    const text = new TextDecoder();
    expect(names.filter((name, index) => text.decode(held.get(name)) !== `${index}\n`)).toEqual([]);
    expect(stage.ledger()).toEqual([id]);
  },
  testMs,
);

test(
  `SIGKILL in the middle of ${files} inputs: what is missing is fetched, and at most a group once more`,
  async () => {
    await using stage = await openStage({ profiles: { counts: { program: counts } } });
    const id = stage.submit("counts", { files: names.map((path, index) => ({ path, content: `${index}\n` })) });
    const gets = () =>
      stage.requests.filter((asked) => /^GET \/api\/hpc\/artifacts\/[^/]+\/files\//.test(asked)).length;
    await dieHalfway(stage, gets);
    await stage.untilStatus(id, "COMPLETED", boundMs);
    console.log(`${files} inputs, killed halfway: ${gets()} fetched`);
    expect(gets()).toBeLessThanOrEqual(atMost);
    const all = committed(stage, stage.job(id).outputArtifactId).get("all") ?? "";
    expect(sha256Of(all)).toBe(sha256Of(names.map((_, index) => `${index}\n`).join("")));
    expect(stage.ledger()).toEqual([id]);
  },
  testMs,
);
