/** Reads what `bun test --reporter=junit` (1.4.5) wrote: how each test ended, and its full name. */

export interface TestCase {
  /** `tests/unit/x.test.ts > describe > test` */
  name: string;
  ended: "passed" | "failed" | "skipped";
}

export function testCases(junit: string): TestCase[] {
  return [...junit.matchAll(/<testcase ([^>]*?)(?:\/>|>(.*?)<\/testcase>)/gs)].map(
    ([, attributes = "", body = ""]) => ({
      name: fullName(attributes),
      ended: body.includes("<skipped") ? "skipped" : /<(failure|error)\b/.test(body) ? "failed" : "passed",
    }),
  );
}

function fullName(attributes: string): string {
  // Bun names the describe blocks from the inside out.
  const blocks = attribute(attributes, "classname").split(" > ").filter(Boolean).reverse();
  return [attribute(attributes, "file"), ...blocks, attribute(attributes, "name")].join(" > ");
}

const entities: Record<string, string> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };

function attribute(attributes: string, name: string): string {
  const text = new RegExp(`\\b${name}="([^"]*)"`).exec(attributes)?.[1] ?? "";
  return text.replace(/&(\w+);/g, (whole, entity: string) => entities[entity] ?? whole);
}
