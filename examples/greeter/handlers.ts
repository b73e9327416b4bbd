import { type Duration, timestampNow } from "@bufbuild/protobuf/wkt";
import type { Greeter } from "hawser/gen/example/greeter_pb.js";
import { Code, ConnectError, type ServiceImpl } from "hawser/server";
import { pause } from "../pause.ts";

/** The example handlers: one for each kind of call, as proto/example/greeter.proto describes them. */
export const greeter: ServiceImpl<typeof Greeter> = {
  sayHello({ content }) {
    return { reply: `Hello, ${content}` };
  },

  async *chat(requests) {
    for await (const { content } of requests) yield { reply: `Received: ${content}` };
  },

  async collect(requests) {
    let count = 0;
    let bytes = 0n;
    for await (const { content } of requests) {
      count++;
      bytes += BigInt(Buffer.byteLength(content));
    }
    return { count, bytes };
  },

  async *subscribe({ count, interval }, { signal }) {
    const intervalMs = interval === undefined ? 1000 : readIntervalMs(interval);
    for (let sequence = 1n; count === 0 || sequence <= count; sequence++) {
      if (sequence > 1n) await pause(intervalMs, signal);
      yield { sequence, content: `Notification ${sequence}`, time: timestampNow() };
    }
  },
};

/** ±10,000 years: the range of google.protobuf.Duration, in seconds. */
const LONGEST_DURATION_S = 315_576_000_000n;

/** Returns the interval of a subscription in milliseconds. Throws INVALID_ARGUMENT if it is out of range. */
function readIntervalMs({ seconds, nanos }: Duration): number {
  const wellFormed = seconds <= LONGEST_DURATION_S && Math.abs(nanos) < 1_000_000_000;
  if (seconds < 0n || nanos < 0 || !wellFormed) {
    throw new ConnectError(
      `interval of ${seconds} s and ${nanos} ns is out of range: ` +
        `send 0 s to ${LONGEST_DURATION_S} s and 0 ns to 999999999 ns`,
      Code.InvalidArgument,
    );
  }
  return Number(seconds) * 1000 + nanos / 1e6;
}
