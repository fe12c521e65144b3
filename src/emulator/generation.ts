/**
 * What the two generations of the server do differently, as data: the rest of the emulator asks this table and never for a
 * name. Source: exchanges recorded with a real server of each, and of `multipart/form-data`, which no recording
 * has, EMX2's public source.
 */
export type GenerationName = "2026-02" | "2026-05";

export interface Generation {
  readonly name: GenerationName;
  /** A secret for each worker; else one for all, and a worker is whoever the body says. */
  readonly workerCredentials: boolean;
  /** A nonce counts once, also where its signature was wrong. */
  readonly noncesAreBurnt: boolean;
  /** Else a body that is not JSON is signed over the empty string, and `Content-SHA256` is ignored. */
  readonly contentHashIsSigned: boolean;
  /** Header and authentication errors are problem documents; else `{"errors": [{"message": …}]}`. */
  readonly refusesAsProblem: boolean;
  /** Ownership, capability and capacity are checked, and the ids of workers in header, path and body compared. */
  readonly checksWorkers: boolean;
  /** The link `heartbeat` of a worker leads there; else to the registration. */
  readonly linksHeartbeat: boolean;
  /** Users have roles, and their names stand in their jobs. */
  readonly knowsUsers: boolean;
  readonly hasComplete: boolean;
  /** `phase`, `message`, `progress` are kept and shown. */
  readonly keepsProgress: boolean;
  /** Jobs are listed oldest first, else in an order that changes from one request to the next; files by path, else as they came. */
  readonly listsInOrder: boolean;
  /** `limit=0` means all; else none. */
  readonly limitZeroIsAll: boolean;
  /** Objects in `inputs` gain what is known of their artifact, as bare ids do in both. */
  readonly enrichesObjects: boolean;
  /** A job that has not ended can not be deleted. */
  readonly protectsLiveJobs: boolean;
  /** A file's path may have slashes on the wire; else it is one segment, with `%2F` inside. */
  readonly pathsHaveSlashes: boolean;
  /** `..` in a file's path is refused. */
  readonly checksPaths: boolean;
  readonly maxPathCharacters: number;
  /** A PUT of JSON describes a file that lies elsewhere; else it is the file. */
  readonly jsonIsMetadata: boolean;
  /** The media type is guessed from the name; else it is what the upload said. */
  readonly guessesTypes: boolean;
  /** `POST /artifacts/{id}/files` takes `multipart/form-data`, by which alone larger files come in. */
  readonly hasMultipart: boolean;
  readonly maxPutBytes: number;
  /** A commit's hash is compared wherever there are files; else for managed artifacts alone. */
  readonly checksEveryCommit: boolean;
  /** A body that can not be read is 400; else 500. */
  readonly blamesTheBody: boolean;
}

export const generations: Readonly<Record<GenerationName, Generation>> = {
  "2026-02": {
    name: "2026-02",
    workerCredentials: false,
    noncesAreBurnt: true,
    contentHashIsSigned: false,
    refusesAsProblem: false,
    checksWorkers: false,
    linksHeartbeat: false,
    knowsUsers: false,
    hasComplete: false,
    keepsProgress: false,
    listsInOrder: false,
    limitZeroIsAll: false,
    enrichesObjects: false,
    protectsLiveJobs: false,
    pathsHaveSlashes: false,
    checksPaths: false,
    maxPathCharacters: 255,
    jsonIsMetadata: false,
    guessesTypes: false,
    hasMultipart: true,
    maxPutBytes: 10_000_000,
    checksEveryCommit: true,
    blamesTheBody: false,
  },
  "2026-05": {
    name: "2026-05",
    workerCredentials: true,
    noncesAreBurnt: false,
    contentHashIsSigned: true,
    refusesAsProblem: true,
    checksWorkers: true,
    linksHeartbeat: true,
    knowsUsers: true,
    hasComplete: true,
    keepsProgress: true,
    listsInOrder: true,
    limitZeroIsAll: true,
    enrichesObjects: true,
    protectsLiveJobs: true,
    pathsHaveSlashes: true,
    checksPaths: true,
    maxPathCharacters: 1_024,
    jsonIsMetadata: true,
    guessesTypes: true,
    hasMultipart: false,
    maxPutBytes: Number.POSITIVE_INFINITY,
    checksEveryCommit: false,
    blamesTheBody: true,
  },
};
