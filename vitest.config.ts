import { defineConfig } from "vitest/config";

/** Behaviours of calls that must be the same with sessions and without. */
const behaviours = [
  "cancel",
  "chat",
  "close",
  "connect",
  "deadline",
  "errors",
  "half-close",
  "interceptors",
  "invalid-messages",
  "keepalive",
  "large-messages",
  "leaks",
  "limits",
  "metadata",
  "metadata-faults",
  "metadata-limits",
  "response-headers",
  "retry",
  "stalled-reader",
];

/** Where the entries of the package (`hawser`, `hawser/server` …) are src/ itself. */
const conditions = ["hawser-source", "node"];

export default defineConfig({
  ssr: { resolve: { conditions } },
  test: {
    environment: "node",
    // A process a file: what one file leaves open cannot hide in another.
    pool: "forks",
    maxWorkers: 2,
    // Tests of memory collect what is dead before they count.
    execArgv: ["--expose-gc"],
    testTimeout: 10_000,
    hookTimeout: 10_000,
    // What the entries set; units are tested without them.
    setupFiles: ["./src/node/runtime.ts"],
    // Each behaviour must hold at the first attempt.
    retry: 0,
    projects: [
      { extends: true, test: { name: "sessions", include: ["test/**/*.test.ts"] } },
      {
        extends: true,
        test: {
          name: "plain",
          include: behaviours.map((name) => `test/${name}.test.ts`),
          env: { HAWSER_SESSIONS: "off" },
        },
      },
    ],
  },
});
