// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the configuration's own references are tested here
import { afterAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { configJsonSchema, effectiveYaml } from "../../../src/config/effective.ts";
import { loadConfig, loadWhole } from "../../../src/config/load.ts";
import { configText, sandbox } from "./config-file.ts";

const box = sandbox();
afterAll(() => box.remove());

const shownOf = (text: string, env = {}) =>
  effectiveYaml(loadWhole({ path: box.write("config.yaml", text), env, home: box.home }));

describe("config show", () => {
  test("what is shown loads back to the same configuration", async () => {
    const example = await Bun.file(join(import.meta.dir, "../../../config.example.yaml")).text();
    const path = box.write("config.yaml", example);
    const loaded = loadWhole({ path, env: { EMX2_URL: "https://x.test" }, home: box.home });
    box.write("config.yaml", effectiveYaml(loaded));
    expect(loadConfig({ path, env: {}, home: "/elsewhere" })).toEqual(loaded.config);
  });

  test("defaults are told apart from what the file says", () => {
    const lines = shownOf(configText({ worker: "max_concurrent_jobs: 10", slurm: "default_partition: normal" })).split(
      "\n",
    );
    expect(lines).toContain("  max_concurrent_jobs: 10");
    expect(lines).toContain("  poll_interval_seconds: 30 # default");
    expect(lines).toContain("    partition: normal # default");
    expect(lines).toContain("  default_partition: normal");
    expect(lines).toContain("  posix_roots: [] # default");
  });

  test("variables are filled in, and a literal reference stays one", () => {
    const prelude = 'prelude: ["echo $${HOME} ${WHO}"]';
    expect(shownOf(configText({ profile: prelude }), { WHO: "me" })).toContain("- echo $${HOME} me");
  });
});

describe("config schema", () => {
  interface Node {
    readonly description?: string;
    readonly default?: unknown;
    readonly properties?: Readonly<Record<string, Node>>;
    readonly additionalProperties?: Node | false;
  }
  const schema = configJsonSchema() as Node;

  test("every key is described, and none but those is allowed", () => {
    const undescribed: string[] = [];
    const walk = (node: Node, path: string) => {
      if (path && !node.description) undescribed.push(path);
      if (node.properties) expect(node.additionalProperties).toBe(false);
      for (const [key, child] of Object.entries(node.properties ?? {})) walk(child, `${path}.${key}`);
      if (node.additionalProperties) walk(node.additionalProperties, `${path}.*`);
    };
    walk(schema, "");
    expect(undescribed).toEqual([]);
    expect(schema.properties?.["worker"]?.properties?.["poll_interval_seconds"]?.default).toBe(30);
  });
});
