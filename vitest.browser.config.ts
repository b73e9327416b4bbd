import { existsSync } from "node:fs";
import { defineConfig } from "vitest/config";
import { executablePath } from "./test/browser/executable-path.ts";
import { behaviours } from "./vitest.config.ts";

const hasChromium = existsSync(executablePath);
if (!hasChromium) console.log(`skipped: there is no ${executablePath}`);

/** Behaviours of calls that are not tested with the calls in a page, and why. */
const notInPage: Record<string, string> = {
  close: "a behaviour of servers",
  connect: "most of its clients are transports of Node, to peers that are no gRPC servers",
  leaks: "it counts the timers, the listeners and the heap of the test's process",
  limits: "a behaviour of servers",
  "observe-calls":
    "observers are told in the course of a call, and do not wait for another process",
  "response-headers": "a behaviour of servers, on the wire",
  retry: "its methods differ from those of the page's code by an option that the test sets",
  "stalled-reader":
    "it times 40,000 messages, which the channel to the page would decide; test/browser/calls.test.ts has it without one",
};

const files = (names: readonly string[]) => names.map((name) => `test/${name}.test.ts`);

/** The tests in Chromium: `npm run test:browser`. */
export default defineConfig({
  ssr: { resolve: { conditions: ["hawser-source", "node"] } },
  test: {
    environment: "node",
    setupFiles: ["./src/node/runtime.ts"],
    pool: "forks",
    maxWorkers: 2,
    // Chromium is started by the first test, or the hooks, of a file.
    testTimeout: 30_000,
    hookTimeout: 30_000,
    expect: { poll: { timeout: 10_000 } },
    retry: 0,
    projects: [
      { extends: true, test: { name: "browser", include: ["test/browser/**/*.test.ts"] } },
      {
        // The files of `npm test`, whose calls are made in a page: test/support/page.
        extends: true,
        test: {
          name: "page",
          include: hasChromium
            ? files([...behaviours.filter((name) => !(name in notInPage)), "session-backpressure"])
            : [],
          env: { HAWSER_PAGE: "1" },
          execArgv: ["--expose-gc"],
        },
      },
    ],
  },
});
