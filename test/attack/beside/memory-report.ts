/** Loaded into a server by `--import`: answers each message of the parent with the memory that is in use. */
import { memoryInUse } from "../../support/memory.ts";

process.on("message", async () => process.send?.(await memoryInUse()));
// The server ends as it would without this.
process.channel?.unref();
