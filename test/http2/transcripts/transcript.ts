/** The bytes of a connection between two programs that are not ours, as record.ts recorded them. */
import { readdirSync, readFileSync } from "node:fs";
import { deflateRawSync, inflateRawSync } from "node:zlib";

export type Side = "client" | "server";

/** Bytes that one side has sent; the recorder received them in one piece. */
export interface Chunk {
  readonly from: Side;
  readonly bytes: Buffer;
}

export interface Transcript {
  /** The programs, and their versions. */
  readonly client: string;
  readonly server: string;
  readonly chunks: readonly Chunk[];
}

/** Chunks in a file: bytes in base64, deflated where they are shorter then. */
type StoredChunk = { from: Side } & ({ bytes: string } | { deflated: string });

export const FOLDER = new URL("./recorded/", import.meta.url);

export function format({ client, server, chunks }: Transcript): string {
  const stored = chunks.map(({ from, bytes }): StoredChunk => {
    const deflated = deflateRawSync(bytes, { level: 9 });
    if (deflated.length < bytes.length) return { from, deflated: deflated.toString("base64") };
    return { from, bytes: bytes.toString("base64") };
  });
  const lines = stored.map((chunk) => `    ${JSON.stringify(chunk)}`);
  const programs = `  "client": ${JSON.stringify(client)},\n  "server": ${JSON.stringify(server)},\n`;
  return `{\n${programs}  "chunks": [\n${lines.join(",\n")}\n  ]\n}\n`;
}

export function parse(text: string): Transcript {
  const { client, server, chunks } = JSON.parse(text) as Omit<Transcript, "chunks"> & {
    chunks: StoredChunk[];
  };
  return {
    client,
    server,
    chunks: chunks.map((chunk) => ({
      from: chunk.from,
      bytes:
        "bytes" in chunk
          ? Buffer.from(chunk.bytes, "base64")
          : inflateRawSync(Buffer.from(chunk.deflated, "base64")),
    })),
  };
}

/** The names of all transcripts. */
export const transcriptNames: readonly string[] = readdirSync(FOLDER)
  .filter((name) => name.endsWith(".json") && !name.endsWith(".expected.json"))
  .map((name) => name.slice(0, -".json".length))
  .sort();

export function readTranscript(name: string): Transcript {
  return parse(readFileSync(new URL(`${name}.json`, FOLDER), "utf8"));
}
