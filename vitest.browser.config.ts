import { defineConfig } from "vitest/config";

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
    retry: 0,
  },
});
