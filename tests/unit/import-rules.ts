/** What may import what in src, and how its files are kept; each rule with the reason for it. */
import type { Graph } from "./import-graph.ts";

export interface Rule {
  name: string;
  why: string;
  /** One line for each place that breaks it. */
  broken(graph: Graph): string[];
}

interface Part {
  /** Parts, or single files of them. The part itself is always allowed. */
  may: readonly string[];
  /** Only their types. */
  types?: readonly string[];
  why: string;
}

const domain = ["job", "errors"];
const ground = ["config", "subprocess", "log", "clock", ...domain];
const adapters = ["scheduler", "artifacts", "emx2", "journal"];
const engine = ["daemon", ...adapters, ...ground];

const groundPart = (name: string): Part => ({
  may: ["subprocess", "log", "clock", ...domain].filter((part) => part !== name),
  why: `${name} serves everything above it, so it knows nothing of it`,
});
const adapterPart = (name: string): Part => ({
  may: ground,
  types: adapters.filter((part) => part !== name),
  why: "scheduler, artifacts, emx2 and journal are replaced one by one, so none may call another",
});

/** A directory of src, or a file at its top. */
const parts: Readonly<Record<string, Part>> = {
  errors: { may: [], why: "everything throws and judges them" },
  job: { may: ["errors"], why: "the decisions are pure: no input, no output, no clock" },
  clock: groundPart("clock"),
  log: groundPart("log"),
  subprocess: groundPart("subprocess"),
  config: groundPart("config"),
  scheduler: adapterPart("scheduler"),
  artifacts: adapterPart("artifacts"),
  emx2: adapterPart("emx2"),
  journal: adapterPart("journal"),
  daemon: { may: [...adapters, ...ground], why: "the engine runs without a command line around it" },
  view: { may: ground, types: engine, why: "it draws what it is given, and asks nobody" },
  emulator: {
    may: ["emx2/wire.ts", "emx2/signature.ts", "clock", ...domain],
    why: "a server that shared more with the client than the wire would share the client's mistakes",
  },
  commands: { may: ["view", "emulator", ...engine], why: "the command tree is put together above them" },
  main: { may: ["commands", "view", ...engine], why: "nothing stands above it; the emulator belongs to commands" },
};

export const maxLines = 300;
const vagueNames = ["index", "utils", "util", "types", "constants", "helpers", "helper", "common", "misc", "shared"];

export const rules: readonly Rule[] = [
  {
    name: "every file belongs to a known part",
    why: "a new directory decides its directions first",
    broken: (graph) => [...graph.keys()].filter((path) => !(partOf(path) in parts)),
  },
  ...Object.entries(parts).map(([name, part]) => directionRule(name, part)),
  {
    name: "no file imports itself through others",
    why: "what is loaded first would decide what is defined",
    broken: (graph) => cycles(graph).map((cycle) => cycle.join(" > ")),
  },
  {
    name: "every file is reachable from main.ts",
    why: "what nothing reaches is not in the program",
    broken: (graph) => {
      const reached = reachable(graph, "main.ts");
      return [...graph.keys()].filter((path) => !reached.has(path));
    },
  },
  {
    name: "every import leads to a file",
    why: "the other rules would not see what it leads to",
    broken: (graph) =>
      edges(graph)
        .filter(([, to]) => !graph.has(to) && !to.startsWith(".."))
        .map(show),
  },
  {
    name: "nothing outside src is imported",
    why: "tests and scripts are no part of the program; the version comes from the build",
    broken: (graph) =>
      edges(graph)
        .filter(([, to]) => to.startsWith(".."))
        .map(show),
  },
  {
    name: `no file has more than ${maxLines} lines`,
    why: "a file fits in a head",
    broken: (graph) =>
      [...graph].filter(([, { lines }]) => lines > maxLines).map(([path, { lines }]) => `${path}: ${lines}`),
  },
  {
    name: "a file is named after its idea",
    why: "a drawer for everything is where nobody looks",
    broken: (graph) => [...graph.keys()].filter((path) => vagueNames.includes(path.replace(/^.*\/|\.\w+$/g, ""))),
  },
];

function directionRule(name: string, { may, types = [], why }: Part): Rule {
  return {
    name: `${name} imports only ${may.join(", ") || "nothing"}${types.length > 0 ? `, and types of ${types.join(", ")}` : ""}`,
    why,
    broken: (graph) =>
      edges(graph)
        .filter(([from, to, typeOnly]) => {
          const names = [to, partOf(to)];
          const allowed = names.some(
            (each) => each === name || may.includes(each) || (typeOnly && types.includes(each)),
          );
          return partOf(from) === name && graph.has(to) && !allowed;
        })
        .map(show),
  };
}

/** `job` of job/fold.ts, `clock` of clock.ts. */
const partOf = (path: string) => (path.includes("/") ? path.slice(0, path.indexOf("/")) : path.replace(/\.\w+$/, ""));

type Edge = readonly [from: string, to: string, typeOnly: boolean];

const edges = (graph: Graph): Edge[] =>
  [...graph].flatMap(([from, { imports }]) => imports.map(({ to, typeOnly }) => [from, to, typeOnly] as const));

const show = ([from, to, typeOnly]: Edge) => `${from} imports ${typeOnly ? "types of " : ""}${to}`;

function reachable(graph: Graph, start: string): Set<string> {
  const reached = new Set<string>();
  const open = graph.has(start) ? [start] : [];
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    if (reached.has(path)) continue;
    reached.add(path);
    for (const { to } of graph.get(path)?.imports ?? []) open.push(to);
  }
  return reached;
}

/** Depth first; an import of a file that is still being visited closes a cycle. Types are gone before anything loads. */
function cycles(graph: Graph): string[][] {
  const done = new Set<string>();
  const found: string[][] = [];
  const visit = (path: string, trail: readonly string[]) => {
    const at = trail.indexOf(path);
    if (at >= 0) found.push([...trail.slice(at), path]);
    if (at >= 0 || done.has(path)) return;
    for (const { to, typeOnly } of graph.get(path)?.imports ?? []) if (!typeOnly) visit(to, [...trail, path]);
    done.add(path);
  };
  for (const path of graph.keys()) visit(path, []);
  return found;
}
