/** `config show` and `config schema`: what holds, and what could be said. Neither opens the secret's file. */
import { homedir } from "node:os";
import { defineCommand } from "citty";
import { configJsonSchema, effectiveYaml } from "../config/effective.ts";
import { loadWhole } from "../config/load.ts";
import { globals, logFor, warnOf } from "./globals.ts";

export const configShow = defineCommand({
  meta: { name: "show", description: "the effective configuration, defaults filled in and secrets hidden" },
  args: globals,
  run({ args }) {
    const loaded = loadWhole({
      ...(args.config !== undefined && { path: args.config }),
      env: process.env,
      home: homedir(),
    });
    warnOf(loaded.config, logFor(args));
    console.log(effectiveYaml(loaded).trimEnd());
  },
});

export const configSchema = defineCommand({
  meta: { name: "schema", description: "the JSON Schema of the configuration, for editors" },
  args: globals,
  run() {
    console.log(JSON.stringify(configJsonSchema(), null, 2));
  },
});
