import type { Server } from "hawser/server";
import { EXIT_CODE, type Interrupt } from "../terminal/interruption.ts";
import { printNote } from "../terminal/output.ts";
import { programLine } from "../terminal/program.ts";
import { report } from "../terminal/report.ts";

/** One Ctrl-C can come twice: from the terminal, and from npm, which passes it on. */
const SAME_PRESS_MS = 500;

export interface ClosingOptions {
  /** How long running calls may continue. */
  readonly graceMs: number;
  readonly json: boolean;
  /** Called when no call runs any more. */
  readonly afterwards: () => Promise<void>;
}

/** The first signal lets running calls finish; the second ends the process at once. */
export function closeOnSignal(server: Server, { graceMs, json, afterwards }: ClosingOptions): void {
  let firstAt: number | undefined;
  const say = (text: string) => {
    if (!json) printNote(programLine(text));
  };
  const stop = async (signal: Interrupt) => {
    if (firstAt !== undefined) {
      if (performance.now() - firstAt >= SAME_PRESS_MS) process.exit(EXIT_CODE[signal]);
      return;
    }
    firstAt = performance.now();
    const calls = server.openCalls;
    say(
      calls === 0
        ? "closing"
        : `closing: ${calls} open call${calls === 1 ? "" : "s"} may finish within ${graceMs / 1000} s; ` +
            "Ctrl-C again ends at once",
    );
    try {
      await server.close({ graceMs });
      await afterwards();
      say("closed");
    } catch (error) {
      report(error, { json });
    }
  };
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
}
