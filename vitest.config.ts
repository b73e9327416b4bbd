import { defineConfig } from "vitest/config";

/** Behaviours of calls that must be the same with sessions and without. */
export const behaviours = [
  "cancel",
  "chat",
  "close",
  "connect",
  "deadline",
  "duplex",
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
  "observe-calls",
  "response-headers",
  "retry",
  "stalled-reader",
];

/**
 * HAWSER_POISON=1: the memory of messages is overwritten as soon as it may be used again (test/support/poison.ts). The
 * behaviours are tested without sessions then, since a session copies each message at once, and others copy only what waits.
 */
const isPoisoned = process.env.HAWSER_POISON === "1";

/** The tests with sessions that run then: large messages, both ends on the wire, TLS, messages that are encoded once. */
const poisoned = [
  "chat",
  "connect-over-http2",
  "encoded-once",
  "large-messages",
  "session-backpressure",
  "session-resume",
  "tls-calls",
  "wire-*",
];

/** Those of them that are tested through a WebSocket too, with sessions: bytes in both directions, and how calls end. */
const inWebSocket = [
  "cancel",
  "chat",
  "errors",
  "half-close",
  "large-messages",
  "session-backpressure",
  "session-cuts",
  "stalled-reader",
];

/** Behaviours of servers and of TCP, which are not tested with hawser/web as the client too. */
const notWeb = ["close", "limits", "observe-calls", "response-headers"];

/** Tests that start programs: those of the README, the examples and the package, and servers that are killed. */
const programs = [
  "example-authenticate",
  "example-cut",
  "example-greeter",
  "example-greeter-terminal",
  "example-options",
  "example-room",
  "example-room-terminal",
  "example-room-unfinished",
  "example-server",
  "hostile-clients",
  "package",
  "package-installed",
  "process",
  "readme",
  "rooms-killed",
  "rooms-many",
  "rooms-nodes",
  "topic-log-crash",
];

const files = (names: readonly string[]) => names.map((name) => `test/${name}.test.ts`);

/** Where the entries of the package (`hawser`, `hawser/server` …) are src/ itself. */
const conditions = ["hawser-source", "node"];

/** `npm test` runs the projects `sessions` and `plain`, `npm run test:web` and `test:programs` the others. */
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
    setupFiles: [
      process.env.HAWSER_POISON === "1" ? "./test/support/poison.ts" : "./src/node/runtime.ts",
    ],
    // Each behaviour must hold at the first attempt.
    retry: 0,
    projects: [
      {
        extends: true,
        test: {
          name: "sessions",
          include: isPoisoned ? files(poisoned) : ["test/**/*.test.ts"],
          // npm run test:browser
          exclude: ["test/browser/**", ...files(programs)],
        },
      },
      {
        extends: true,
        test: { name: "programs", include: isPoisoned ? [] : files(programs) },
      },
      {
        extends: true,
        test: {
          name: "plain",
          include: files(behaviours),
          env: { HAWSER_SESSIONS: "off" },
        },
      },
      {
        extends: true,
        test: {
          name: "web-socket",
          include: isPoisoned ? [] : files(inWebSocket),
          env: { HAWSER_WEB_SOCKET: "1" },
        },
      },
      {
        extends: true,
        test: {
          name: "web",
          include: isPoisoned ? [] : files(behaviours.filter((name) => !notWeb.includes(name))),
          env: { HAWSER_WEB: "1" },
        },
      },
    ],
  },
});
