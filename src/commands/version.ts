/** Version and commit, put in by the build; from a source tree they are unknown. */
declare const BUILD_VERSION: string | undefined;
declare const BUILD_COMMIT: string | undefined;

const release = typeof BUILD_VERSION === "string" ? BUILD_VERSION : "0.0.0-source";
const commit = typeof BUILD_COMMIT === "string" ? BUILD_COMMIT : "unknown";

export const version = { release, commit, text: `emx2-hpc-daemon ${release} (${commit})` } as const;
