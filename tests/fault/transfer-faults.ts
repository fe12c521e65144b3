/** The table of transfers.test.ts: which calls there are about artifacts, and what can befall each of them. */
import { randomBytes } from "node:crypto";
import { storeFile } from "../../src/emulator/files.ts";
import type { GenerationName } from "../../src/emulator/generation.ts";
import { sha256Of } from "../integration/committed.ts";
import type { Stage } from "../integration/harness.ts";
import { type Asked, type BreakingProxy, type Fault, type Place, places, type Way } from "./breaking-proxy.ts";

export const generations = ["2026-05", "2026-02"] as const satisfies readonly GenerationName[];

type Files = readonly { readonly path: string; readonly content: Uint8Array | string }[];

/** Some pieces of what a socket takes at once. */
const inputBytes = 300 * 1024;
const file = "data/in.bin";
const bigFile = "data/big.bin";
/** Of outputs that the workload makes beside what it copies: such a size is asked after before it is sent, */
const askedAfterBytes = 1_500_000;
/** and such a one 2026-02 takes in a form alone. */
const formBytes = 10_000_001;

const copies = 'cp -R "$HPC_INPUT_DIR"/*/. "$HPC_OUTPUT_DIR"';
const makes = (bytes: number) => `head -c ${bytes} /dev/zero >"$HPC_OUTPUT_DIR/${bigFile}"`;
const bigBytes = { copies: 0, asked: askedAfterBytes, form: formBytes } as const;
type Processor = keyof typeof bigBytes;
export const profiles: Readonly<Record<Processor, { readonly program: string }>> = {
  copies: { program: copies },
  asked: { program: `${copies}; ${makes(askedAfterBytes)}` },
  form: { program: `${copies}; ${makes(formBytes)}` },
};

export function contentFor(): Files {
  return [
    { path: file, content: randomBytes(inputBytes) },
    { path: "b.txt", content: "beside it" },
  ];
}

/** Hashes by path of what is to arrive. */
export function expected({ call }: Row, files: Files): Record<string, string> {
  const big = bigBytes[calls[call].processor];
  const made = big === 0 ? [] : [{ path: bigFile, content: new Uint8Array(big) }];
  return Object.fromEntries([...files, ...made].map(({ path, content }) => [path, sha256Of(content)]));
}

interface CallKind {
  readonly processor: Processor;
  readonly method: string;
  /** Below /api/hpc/artifacts, decoded. */
  readonly path: RegExp;
  /** Of outputs; else of inputs. */
  readonly ofOutputs?: true;
  readonly bodies: "both" | "request" | "answer" | "none";
  readonly only?: GenerationName;
}

const inArtifact = (rest: string) => new RegExp(`^/[^/]+${rest}$`);
const request = { processor: "copies", ofOutputs: true } as const;

export const calls = {
  "read the artifact": { ...{ processor: "copies", method: "GET", path: inArtifact("") }, bodies: "answer" },
  "list files": { ...{ processor: "copies", method: "GET", path: inArtifact("/files") }, bodies: "answer" },
  "fetch a file": { ...{ processor: "copies", method: "GET", path: inArtifact(`/files/${file}`) }, bodies: "answer" },
  create: { ...request, method: "POST", path: /^$/, bodies: "both" },
  "ask after a file": {
    ...{ processor: "asked", ofOutputs: true, method: "HEAD", path: inArtifact(`/files/${bigFile}`), bodies: "none" },
    only: "2026-05",
  },
  "put a file": { ...request, method: "PUT", path: inArtifact(`/files/${file}`), bodies: "both" },
  commit: { ...request, method: "POST", path: inArtifact("/commit"), bodies: "both" },
  "ask after a form's file": {
    ...{ processor: "form", ofOutputs: true, method: "HEAD", path: inArtifact(`/files/${bigFile}`), bodies: "none" },
    only: "2026-02",
  },
  "post a form": {
    ...{ processor: "form", ofOutputs: true, method: "POST", path: inArtifact("/files"), bodies: "both" },
    only: "2026-02",
  },
  "delete a file": {
    ...{ processor: "form", ofOutputs: true, method: "DELETE", path: inArtifact(`/files/${bigFile}`), bodies: "none" },
    only: "2026-02",
  },
} as const satisfies Readonly<Record<string, CallKind>>;
type CallName = keyof typeof calls;

export interface Row {
  readonly name: string;
  readonly call: CallName;
  readonly place: Place;
  readonly way: string;
  readonly fault: Fault;
  /** In a row, at that call of one job. */
  readonly times: number;
  readonly end: "COMPLETED" | "FAILED";
  /** Of an end that is FAILED. */
  readonly says: RegExp;
}

export interface Case {
  readonly row: Row;
  readonly id: string;
  readonly files: Files;
  left: number;
  met: number;
}

const always = Number.POSITIVE_INFINITY;
const broken = { reset: 1, close: 3 } as const;
const answers = [
  { way: "500", times: 3 },
  { way: "429", times: 1 },
  { way: "401", times: 1 },
] as const;
const tooLarge = { "2026-05": "413", "2026-02": "500 Content Too Large" } as const;
const early: Place = "after the request's headers";
const unseen: Place = "after the request, before EMX2 sees it";
const acted: Place = "after EMX2 has acted";
/** Each takes a minute. */
const hung: readonly (readonly [CallName, Place])[] = [
  ["fetch a file", "in the middle of the answer's body"],
  ["put a file", "in the middle of the request's body"],
  ["create", acted],
  ["commit", acted],
];

export function rowsOf(generation: GenerationName): Row[] {
  const names = (Object.keys(calls) as CallName[]).filter((name) => {
    const { only }: CallKind = calls[name];
    return only === undefined || only === generation;
  });
  const rows = names.flatMap((call) => {
    const { bodies }: CallKind = calls[call];
    const isUpload = call === "put a file" || call === "post a form";
    const breaks = placesOf(bodies).flatMap((place) =>
      Object.entries(broken).map(([way, times]) => row(call, place, way, way as Way, times)),
    );
    const saysNo = answers.flatMap(({ way, times }) =>
      [unseen, acted, ...(isUpload ? [early] : [])].map((place) => row(call, place, way, answer(way), times)),
    );
    const refusal = tooLarge[generation];
    const refused = isUpload ? [early, unseen].map((place) => failing(call, place, refusal)) : [];
    return [...breaks, ...saysNo, ...refused];
  });
  // First, since they take the longest.
  return generation === "2026-05"
    ? [...hung.map(([call, place]) => row(call, place, "hang", "hang", 1)), ...rows]
    : rows;
}

function placesOf(bodies: CallKind["bodies"]): readonly Place[] {
  const asks = bodies === "both" || bodies === "request";
  const isAnswered = bodies === "both" || bodies === "answer";
  return places.filter((place) => {
    // Without a body the headers are all there is.
    if (place === early || place === "in the middle of the request's body") return asks;
    if (place === "after the answer's headers" || place === "in the middle of the answer's body") return isAnswered;
    return true;
  });
}

function row(call: CallName, place: Place, said: string, way: Way, times: number): Row {
  const often = times === 1 ? "once" : times === always ? "always" : `${times} times`;
  const name = `${call}: ${said}, ${often}, ${place}`;
  return { name, call, place, way: said, fault: { place, way }, times, end: "COMPLETED", says: /^$/ };
}

/** EMX2 says the same of that file as often as it is asked. */
function failing(call: CallName, place: Place, said: string): Row {
  const [path, bytes] = call === "put a file" ? [file, inputBytes] : [bigFile, formBytes];
  const says = new RegExp(`${path}.* of ${bytes} bytes: .*posix`);
  return { ...row(call, place, said, answer(said), always), end: "FAILED", says };
}

function answer(said: string): Way {
  const [status, ...detail] = said.split(" ");
  const problem = { type: "about:blank", title: "No", status: Number(status), detail: detail.join(" ") || "not now" };
  const text = JSON.stringify(problem);
  const type = "application/problem+json";
  const headers = [`Content-Type: ${type}`, `Content-Length: ${text.length}`, "Connection: close"];
  if (status === "429") headers.push("Retry-After: 1");
  return { answer: `HTTP/1.1 ${status} No\r\n${headers.join("\r\n")}\r\n\r\n${text}` };
}

/** A job's requests share their trace id, which its claim makes known. */
export function judgeOf(stage: Stage, cases: readonly Case[]): BreakingProxy["judge"] {
  const byId = new Map(cases.map((each) => [each.id, each]));
  const jobOf = new Map<string, string>();
  return (asked) => {
    const trace = asked.header("x-trace-id") ?? "";
    const claimed = /\/jobs\/([^/]+)\/claim$/.exec(asked.target)?.[1];
    if (claimed !== undefined) jobOf.set(trace, claimed);
    const mine = byId.get(jobOf.get(trace) ?? "");
    if (mine === undefined) return undefined;
    if (mine.row.call === "delete a file" && mine.met === 0 && isCall("post a form", asked, stage)) {
      plantOther(stage, asked);
      return { place: unseen, way: "reset" };
    }
    if (mine.left === 0 || !isCall(mine.row.call, asked, stage)) return undefined;
    mine.left -= 1;
    mine.met += 1;
    return mine.row.fault;
  };
}

function isCall(name: CallName, asked: Asked, { state }: Stage): boolean {
  const { method, path, ofOutputs }: CallKind = calls[name];
  const below = /^\/api\/hpc\/artifacts([^?]*)/.exec(asked.target)?.[1];
  if (asked.method !== method || below === undefined || !path.test(decodeURIComponent(below))) return false;
  if (name === "create") return asked.json.includes('"output-');
  const artifact = state.artifacts.get(below.split("/")[1] ?? "");
  return (artifact?.name ?? "").startsWith("output-") === (ofOutputs === true);
}

/** What another try has left, so that it has to be deleted. */
function plantOther({ state }: Stage, { target }: Asked): void {
  const artifact = state.artifacts.get(target.split("/").at(-2) ?? "");
  if (artifact === undefined) throw new Error(`no artifact in ${target}`);
  const content = new TextEncoder().encode("half of it");
  storeFile(state, artifact, { path: bigFile, sha256: sha256Of(content), sizeBytes: content.length, content });
}
