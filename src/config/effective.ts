/**
 * A configuration as YAML again: what holds, defaults marked as such, paths in full, the secret hidden. But for the
 * secret it loads back to the same.
 */

import { toJsonSchema } from "@valibot/to-json-schema";
import { Document, isMap, isNode, isPair, isScalar, isSeq, visit } from "yaml";
import type { Profile } from "../job/profile.ts";
import { escapeText } from "../log.ts";
import type { Plain } from "./document.ts";
import type { LoadedConfig } from "./load.ts";
import { blockOf } from "./rules.ts";
import type { ProfileSettings } from "./schema.ts";
import { schemaFor } from "./schema.ts";

export function effectiveYaml({ config, settings, written }: LoadedConfig): string {
  const { state_db: _, ...worker } = settings.worker;
  const profiles = config.profiles.map((profile) => [profile.key, shownProfile(profile, settings.profiles)]);
  const shown = {
    emx2: withoutSecret(settings.emx2),
    worker: { ...worker, state_dir: config.worker.stateDir },
    slurm: settings.slurm,
    profiles: Object.fromEntries(profiles),
    apptainer: settings.apptainer,
  };
  // Older readers take 04:00:00 for a number unless it is quoted.
  const document = new Document(shown, { compat: "yaml-1.1" });
  escapeReferences(document);
  markDefaults(document.contents, written);
  return `# ${escapeText(config.file)}\n${document.toString({ lineWidth: 0 })}`;
}

function withoutSecret(emx2: object): object {
  const hide = ([key, value]: [string, unknown]) => [key, /_secret$/.test(key) ? "[secret]" : value];
  return Object.fromEntries(Object.entries(emx2).map(hide));
}

/** With the defaults that hang on other keys. */
function shownProfile(profile: Profile, settings: Readonly<Record<string, ProfileSettings>>): object {
  const { partition, account, workload, allowedEnvironment } = profile;
  return {
    ...settings[profile.key],
    ...(partition && { partition }),
    ...(account && { account }),
    ...(workload.kind === "image" && { isolation: workload.isolation, gpu_runtime: workload.gpuRuntime }),
    allowed_environment: allowedEnvironment,
  };
}

/** The values are variables filled in; a `${` in them now is meant literally. */
function escapeReferences(document: Document): void {
  visit(document, {
    Scalar(_, node) {
      if (typeof node.value === "string") node.value = node.value.replaceAll("${", () => "$${");
    },
  });
}

function markDefaults(node: unknown, written: Plain | undefined): void {
  if (!isMap(node)) return;
  for (const pair of node.items) {
    if (!isPair(pair) || !isScalar(pair.key)) continue;
    const given = blockOf(written)[String(pair.key.value)];
    if (isMap(pair.value)) markDefaults(pair.value, given);
    else if (given === undefined && isNode(pair.value)) {
      if (isSeq(pair.value)) pair.value.flow = true;
      pair.value.comment = " default";
    }
  }
}

/** The configuration's schema as JSON Schema, for editors. What one key means for another is the daemon's alone to check. */
export function configJsonSchema() {
  const schema = toJsonSchema(schemaFor({ home: "~", directory: "." }), {
    typeMode: "input",
    ignoreActions: ["check", "raw_check"],
  });
  return { title: "emx2-hpc-daemon", ...schema };
}
