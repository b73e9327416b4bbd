import { existsSync } from "node:fs";
import { defineConfig } from "vitest/config";
import { executablePath } from "./test/browser/executable-path.ts";

if (!existsSync(executablePath)) console.log(`skipped: there is no ${executablePath}`);

/** The tests in Chromium: `npm run test:browser`. */
export default defineConfig({
  ssr: { resolve: { conditions: ["hawser-source", "node"] } },
  test: {
    environment: "node",
    include: ["test/browser/**/*.test.ts"],
    setupFiles: ["./src/node/runtime.ts"],
    pool: "forks",
    maxWorkers: 1,
    testTimeout: 30_000,
    expect: { poll: { timeout: 10_000 } },
    retry: 0,
  },
});
