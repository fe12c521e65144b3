/** The configuration's schema as JSON Schema, for editors. What one key means for another is the daemon's alone to check. */
import { toJsonSchema } from "@valibot/to-json-schema";
import { schemaFor } from "./schema.ts";

export function configJsonSchema() {
  const schema = toJsonSchema(schemaFor({ home: "~", directory: "." }), {
    typeMode: "input",
    ignoreActions: ["check", "raw_check"],
  });
  return { title: "emx2-hpc-daemon", ...schema };
}
