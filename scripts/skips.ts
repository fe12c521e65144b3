/** tests/skips.txt: what may be skipped, where, and why. A skip that it does not allow counts as a failure. */

export interface Skip {
  where: "local" | "anywhere";
  what: string;
  why: string;
}

export function readSkips(text: string): Skip[] {
  const lines = text.split("\n").filter((line) => line.trim() !== "" && !line.startsWith("#"));
  return lines.map((line) => {
    const [where, what, why] = line.split(" | ");
    if ((where !== "local" && where !== "anywhere") || !what || !why) {
      throw new Error(`tests/skips.txt: expected "local | WHAT | WHY" or "anywhere | WHAT | WHY": ${line}`);
    }
    return { where, what, why };
  });
}

/** The entry that allows `what` to be skipped here. With CI=true those for a developer's machine do not count. */
export function allowance(skips: readonly Skip[], what: string, ci: boolean): Skip | undefined {
  return skips.find((skip) => skip.what === what && (skip.where === "anywhere" || !ci));
}
