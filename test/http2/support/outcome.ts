import { createHash } from "node:crypto";
import type { ReportedStream } from "../transcripts/expected.ts";
import type { End } from "./end.ts";
import type { StreamLog } from "./stream-log.ts";

/** What an engine has reported of a stream, as the expectations of transcripts have it. */
export function reportOf(log: StreamLog): ReportedStream {
  const { headers = [], trailers, ended, closed, bytes } = log;
  const sha256 = createHash("sha256").update(log.body).digest("hex");
  return {
    headers,
    ...(bytes > 0 && { data: { bytes, sha256 } }),
    ...(trailers !== undefined && { trailers }),
    ended,
    ...(closed?.by === "peer" && { reset: closed.code }),
  };
}

/** What has become of a stream, in a line: "1: 200, 13 B, trailers, end; ended". */
export function summaryOf(log: StreamLog): string {
  const { headers = [], trailers, ended, closed, bytes } = log;
  const parts = [
    headers[0] === ":status" ? headers[1] : undefined,
    bytes > 0 ? `${bytes} B` : undefined,
    trailers === undefined ? undefined : "trailers",
    ended ? "end" : undefined,
  ].filter((part) => part !== undefined);
  const unprocessed = closed?.unprocessed ? ", unprocessed" : "";
  const code = closed === undefined || closed.code === 0 ? "" : ` ${closed.code}`;
  const end = closed === undefined ? "open" : `${closed.by}${code}${unprocessed}`;
  return `${log.stream.id}: ${[parts.join(", "), end].filter((part) => part !== "").join("; ")}`;
}

/** All that an end has reported; it must not depend on how the bytes were cut. */
export function outcomeOf(end: End): object {
  return {
    streams: end.streams.map((log) => ({
      id: log.stream.id,
      ...reportOf(log),
      closed: log.closed,
    })),
    goaways: end.goaways,
    end: end.end,
    peer: end.settings.at(-1),
  };
}
