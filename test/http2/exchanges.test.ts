/** Two engines: each kind of exchange, with the bytes between them delivered whole, one by one, and cut at every offset. */
import { isDeepStrictEqual } from "node:util";
import { describe, expect, test, vi } from "vitest";
import { Http2Code } from "../support/wire.ts";
import { answering, type Exchange, exchanges } from "./support/exchanges.ts";
import { byteByByte, cutAt, Link, type LinkOptions, whole } from "./support/link.ts";
import { outcomeOf, summaryOf } from "./support/outcome.ts";
import { RawPeer, requestFrame } from "./support/raw-peer.ts";

/** A busy machine takes several times as long. */
vi.setConfig({ testTimeout: 60_000 });

/** How many offsets of a long exchange are tried. */
const LONG_OFFSETS = 8;

function run({ run }: Exchange, cuts: Pick<LinkOptions, "up" | "down">) {
  // A server that echoes what was cut into bytes sends tiny frames.
  const link = new Link({ client: { abuseBudget: 1e9 }, server: answering, ...cuts });
  run(link.client);
  link.run();
  const left = { client: link.client.openStreams.length, server: link.server.openStreams.length };
  link.end();
  expect(link.violations).toEqual([]);
  const { up, down } = link;
  const { client: ours, server } = link;
  const outcome = [outcomeOf(ours), outcomeOf(server)];
  const summary = { client: ours.streams.map(summaryOf), server: server.streams.map(summaryOf) };
  return { outcome, summary, left, up, down };
}

describe.each(exchanges)("$name", (exchange) => {
  test("ends as it should", () => {
    const { summary, left } = run(exchange, {});
    expect(left).toEqual({ client: 0, server: 0 });

    expect(summary).toEqual(exchange.ends);
  });

  test("ends in the same way if its bytes are delivered one by one", () => {
    const { outcome } = run(exchange, { up: whole, down: whole });
    expect(run(exchange, { up: byteByByte, down: byteByByte }).outcome).toEqual(outcome);
  });

  test("ends in the same way if its bytes are cut at an offset", () => {
    const { outcome, up, down } = run(exchange, {});
    for (const [side, sent] of [
      ["up", up.sent],
      ["down", down.sent],
    ] as const) {
      const step = exchange.isLong ? Math.ceil(sent / LONG_OFFSETS) : 1;
      for (let offset = 1; offset < sent; offset += step) {
        const cut = run(exchange, { [side]: cutAt(offset) }).outcome;
        // toEqual() takes as long as the exchange; it is to show the difference.
        if (!isDeepStrictEqual(cut, outcome)) expect(cut, `${side} ${offset}`).toEqual(outcome);
      }
    }
  });
});

test("a client whose request has ended is not asked to stop by RST_STREAM, one whose request has not is", () => {
  const server = new RawPeer({ role: "server", ...answering }).begin();
  server.write(requestFrame(1, "/early", true), requestFrame(3, "/early"));
  expect(server.isAnswered(1) && server.isAnswered(3)).toBe(true);
  expect(server.reset(1)).toBeUndefined();
  expect(server.reset(3)).toBe(Http2Code.NO_ERROR);
});
