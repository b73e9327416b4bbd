import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { census } from "../support/census.ts";

setFlagsFromString("--expose-gc");
const gc: () => void = runInNewContext("gc");

/** The memory of one process at rest. */
export interface Sample {
  heapBytes: number;
  rssBytes: number;
  /** HTTP/2 streams that are not closed, of both sides. */
  streams: number;
}

/** Takes a sample once the streams are closed, or after five seconds as it is. */
export async function sample(): Promise<Sample> {
  const limit = performance.now() + 5000;
  const streams = () => census.clientStreams + census.serverStreams;
  while (streams() > 0 && performance.now() < limit) await turn();
  // The census drops closed objects when it is read.
  void [census.clientSockets, census.serverSockets, census.http2Connections];
  // What one collection finalizes, the next one frees.
  for (let i = 0; i < 3; i++) {
    gc();
    await turn();
  }
  const { heapUsed, rss } = process.memoryUsage();
  return { heapBytes: heapUsed, rssBytes: rss, streams: streams() };
}

function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 5));
}

/**
 * How much more there is at the end than in the beginning, in bytes: the median of the last
 * third of the samples less the median of the first third.
 */
export function growth(samples: readonly number[]): number {
  const third = Math.ceil(samples.length / 3);
  return median(samples.slice(-third)) - median(samples.slice(0, third));
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
