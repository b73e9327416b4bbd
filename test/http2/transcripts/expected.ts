/** What a correct engine reports of a transcript, computed without the engine. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { HeaderDecoder } from "../../support/hpack.ts";
import { Type } from "../../support/wire.ts";
import { FrameSource, type ReadFrame } from "./frames.ts";
import { FOLDER, type Side, type Transcript } from "./transcript.ts";

/** What one side received on a stream, until it has reset the stream itself. */
export interface ReportedStream {
  /** Names and values, alternating. */
  headers: readonly string[];
  data?: { bytes: number; sha256: string };
  trailers?: readonly string[];
  /** Whether the peer has ended its side. */
  ended: boolean;
  /** The code of the peer's RST_STREAM. */
  reset?: number;
}

/** By stream id. */
export type Reported = Record<string, ReportedStream>;

export interface Expected {
  /** What the client sent, as its server reports it. */
  readonly server: Reported;
  /** What the server sent, as its client reports it. */
  readonly client: Reported;
}

/** Collects what a side reports of its streams. */
export class Report {
  readonly streams: Reported = {};
  readonly #hashes = new Map<number, ReturnType<typeof createHash>>();

  headers(id: number, fields: readonly string[]): void {
    this.streams[id] = { headers: fields, ended: false };
  }

  data(id: number, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    const stream = this.#at(id);
    stream.data ??= { bytes: 0, sha256: "" };
    stream.data.bytes += bytes.length;
    const hash = this.#hashes.get(id) ?? createHash("sha256");
    this.#hashes.set(id, hash.update(bytes));
    stream.data.sha256 = hash.copy().digest("hex");
  }

  trailers(id: number, fields: readonly string[]): void {
    this.#at(id).trailers = fields;
  }

  end(id: number): void {
    this.#at(id).ended = true;
  }

  reset(id: number, code: number): void {
    const stream = this.streams[id];
    if (stream !== undefined) stream.reset = code;
  }

  #at(id: number): ReportedStream {
    const stream = this.streams[id];
    if (stream === undefined) throw new Error(`stream ${id} has no headers`);
    return stream;
  }
}

/** Follows the frames of both sides, in the order in which they were recorded. */
export function expectedOf({ chunks }: Transcript): Expected {
  const sources = {
    client: new FrameSource("client", new HeaderDecoder()),
    server: new FrameSource("server", new HeaderDecoder()),
  };
  const reports = { client: new Report(), server: new Report() };
  /** The streams that a side has reset: it reports nothing more of them. */
  const reset: Record<Side, Set<number>> = { client: new Set(), server: new Set() };
  for (const { from, bytes } of chunks) {
    const receiver = from === "client" ? "server" : "client";
    for (const frame of sources[from].read(bytes)) {
      if (frame.type === Type.RST_STREAM) reset[from].add(frame.stream);
      if (!reset[receiver].has(frame.stream)) note(reports[receiver], frame);
    }
  }
  return { server: reports.server.streams, client: reports.client.streams };
}

function note(report: Report, frame: ReadFrame): void {
  const { type, stream, payload, endStream } = frame;
  const known = report.streams[stream];
  const isClosed = known?.reset !== undefined;
  if (type === Type.HEADERS) {
    const fields = (frame.fields ?? []).flat();
    const isInformational = fields[0] === ":status" && fields[1]?.startsWith("1") === true;
    if (isInformational) return;
    if (known === undefined) report.headers(stream, fields);
    else report.trailers(stream, fields);
    if (endStream) report.end(stream);
  } else if (type === Type.DATA && !isClosed) {
    report.data(stream, payload);
    if (endStream) report.end(stream);
  } else if (type === Type.RST_STREAM && known !== undefined) {
    report.reset(stream, payload.readUInt32BE(0));
  }
}

/** One line a stream. */
export function formatExpected(expected: Expected): string {
  const sides = Object.entries(expected).map(([side, streams]) => {
    const lines = Object.entries(streams).map(
      ([id, stream]) => `    "${id}": ${JSON.stringify(stream)}`,
    );
    return `  "${side}": {\n${lines.join(",\n")}\n  }`;
  });
  return `{\n${sides.join(",\n")}\n}\n`;
}

export function readExpected(name: string): Expected {
  return JSON.parse(readFileSync(new URL(`${name}.expected.json`, FOLDER), "utf8")) as Expected;
}
