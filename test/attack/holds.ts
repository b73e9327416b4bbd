/** Holds over sockets: a server lets a client go that makes it wait, after 10 s. */
import { encodeHeaders } from "../support/hpack.ts";
import { request } from "../support/request.ts";
import { Flag, frame, PREFACE, settings, Type } from "../support/wire.ts";
import { RawClient } from "./raw.ts";
import { startTarget } from "./target.ts";
import { verdict } from "./verdict.ts";

const ACK = frame(Type.SETTINGS, Flag.ACK, 0);

/** What clients send that then make the server wait. */
export const holds = [
  { name: "no bytes", greeting: [] },
  { name: "half a preface", greeting: [PREFACE.subarray(0, 10)] },
  { name: "a preface without SETTINGS", greeting: [PREFACE] },
  { name: "SETTINGS unacknowledged", greeting: [PREFACE, settings(), request(1, "Collect")] },
  {
    name: "a header block that is open",
    greeting: [
      PREFACE,
      settings(),
      ACK,
      frame(Type.HEADERS, 0, 1, encodeHeaders([[":path", "/"]])),
    ],
  },
];

export async function tryHolds(): Promise<void> {
  await using target = await startTarget();
  await Promise.all(
    holds.map(async ({ name, greeting }) => {
      const began = performance.now();
      await using client = await RawClient.connect(target.port, greeting);
      const isClosed = await client.closed(15_000);
      const ms = Math.round(performance.now() - began);
      verdict(isClosed && ms > 9900 && ms < 12_000, `${name}: closed after ${ms} ms`);
    }),
  );
}
