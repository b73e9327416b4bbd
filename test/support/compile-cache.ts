import { fileURLToPath } from "node:url";

// Threads and processes that a test starts load compiled code from a cache: this halves the time to open a log.
process.env.NODE_COMPILE_CACHE ??= fileURLToPath(new URL("../../.cache/node", import.meta.url));
