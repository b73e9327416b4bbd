import { createRequire } from "node:module";
import { Code } from "@connectrpc/connect";
import { failure } from "../../failure.ts";

/** Loads what opens WebSockets. Rejects with FAILED_PRECONDITION, which says how to install it, if `ws` is missing. */
export async function loadUpgrades(): Promise<typeof import("./web-socket-upgrades.ts")> {
  try {
    createRequire(import.meta.url).resolve("ws");
  } catch (error) {
    // Any other error, such as that of a bundle without import.meta.url, occurs again when `ws` is loaded.
    if ((error as NodeJS.ErrnoException).code === "MODULE_NOT_FOUND") {
      const what = "a server with the option webSocket needs the package ws: npm install ws";
      throw failure(Code.FailedPrecondition, what, error);
    }
  }
  return await import("./web-socket-upgrades.ts");
}
