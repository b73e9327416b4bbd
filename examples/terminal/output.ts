import {
  type DescMessage,
  type MessageShape,
  type Registry,
  toJsonString,
} from "@bufbuild/protobuf";
import { oneLine } from "./one-line.ts";

// The promise of a failed write rejects. Without these listeners a failed write would also end the process.
process.stdout.on("error", () => {});
process.stderr.on("error", () => {});

/** Writes one line to stdout. Resolves when it is written; rejects with EPIPE if the reader has closed stdout. */
export function printLine(line: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(`${line}\n`, (error) => (error ? reject(error) : resolve()));
  });
}

/** Writes one line to stderr. */
export function printNote(line: string): void {
  process.stderr.write(`${line}\n`);
}

/**
 * Returns a message as one line of protobuf JSON, with fields of value zero, and safe for a terminal as by oneLine().
 *
 * @param registry the types that a google.protobuf.Any in it may have
 */
export function toJsonLine<Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
  registry?: Registry,
): string {
  return oneLine(toJsonString(schema, message, { alwaysEmitImplicit: true, registry }));
}
