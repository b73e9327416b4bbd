import type { Server } from "hawser/server";
import { EXIT_CODE, type Interrupt } from "../terminal/interruption.ts";
import { printNote } from "../terminal/output.ts";
import { programLine } from "../terminal/program.ts";
import { report } from "../terminal/report.ts";

/** A signal within this time of the first one is the same Ctrl-C, which the terminal and npm both send. */
const SAME_PRESS_MS = 500;

export interface ClosingOptions {
  /** How long running calls may continue. */
  readonly graceMs: number;
  readonly json: boolean;
  /** Called after all calls have ended. */
  readonly afterwards: () => Promise<void>;
}

/** Closes the server at the first signal, and lets running calls finish; the second signal ends the process immediately. */
export function closeOnSignal(server: Server, { graceMs, json, afterwards }: ClosingOptions): void {
  let firstAt: number | undefined;
  const note = (text: string) => {
    if (!json) printNote(programLine(text));
  };
  const stop = async (signal: Interrupt) => {
    if (firstAt !== undefined) {
      if (performance.now() - firstAt >= SAME_PRESS_MS) process.exit(EXIT_CODE[signal]);
      return;
    }
    firstAt = performance.now();
    const calls = server.openCalls;
    note(
      calls === 0
        ? "closing"
        : `closing: ${calls} open call${calls === 1 ? "" : "s"} may finish within ${graceMs / 1000} s; ` +
            "Ctrl-C again ends at once",
    );
    try {
      await server.close({ graceMs });
      await afterwards();
      note("closed");
    } catch (error) {
      report(error, { json });
    }
  };
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
}
