import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    environment: "node",
    // A process a file: what one file leaves behind cannot hide in another.
    pool: "forks",
    maxWorkers: 2,
    // Tests of memory collect what is dead before they count.
    execArgv: ["--expose-gc"],
    testTimeout: 10_000,
    hookTimeout: 10_000,
    // Each behaviour must hold at the first attempt.
    retry: 0,
  },
});
