/** Floods end a connection; what an honest client does, however often, is in abuse-honest.test.ts. */
import { describe, expect, test, vi } from "vitest";
import { Http2Code, Type } from "../support/wire.ts";
import { floods } from "./support/floods.ts";
import { grpcServer } from "./support/grpc-server.ts";
import { RawPeer } from "./support/raw-peer.ts";

/** A busy machine takes several times as long. */
vi.setConfig({ testTimeout: 60_000 });

const MOST_FRAMES = 2000;

/** Sends parts of a flood until the connection ends; returns how many. */
function flood(name: string, { everyMs, upTo }: { everyMs: number; upTo: number }) {
  const { before, part } = floods.find((one) => one.name === name)!;
  const server = new RawPeer({ role: "server", minPingIntervalMs: 0, ...grpcServer() }).begin();
  server.write(...(before?.("/silent") ?? []));
  let parts = 0;
  while (parts < upTo && server.end.end === undefined) {
    server.write(...part(parts, "/silent"));
    parts++;
    server.end.time.pass(everyMs);
  }
  return { server, parts };
}

describe.each(floods)("a flood of $name", ({ name }) => {
  test("ends the connection within 2,000 frames, and names the cause", () => {
    const { server, parts } = flood(name, { everyMs: 0, upTo: MOST_FRAMES });
    expect(server.end.end).toMatchObject({ by: "failed", code: Http2Code.ENHANCE_YOUR_CALM });
    expect(parts).toBeLessThanOrEqual(MOST_FRAMES);
    expect(server.of(Type.GOAWAY).at(-1)?.payload.toString("latin1", 8)).toMatch(
      /^too_|header block/,
    );
    expect(server.end.openStreams).toEqual([]);
    expect(server.end.time.timers).toBe(0);
    expect(server.end.violations).toEqual([]);
  });

  test("ends the connection too if it comes at twice the speed at which the budget is refilled", () => {
    // 400 a second cost 200 units a second more than time gives back: 1,000 in 5 seconds.
    const { server } = flood(name, { everyMs: 2.5, upTo: 2 * MOST_FRAMES });
    expect(server.end.end).toMatchObject({ by: "failed", code: Http2Code.ENHANCE_YOUR_CALM });
  });
});

test("the same frames at a speed that a client may need do not end it", () => {
  const slow = [
    "PING",
    "SETTINGS",
    "WINDOW_UPDATE of the connection",
    "requests that are reset at once",
  ];
  for (const name of slow) {
    const { server } = flood(name, { everyMs: 1000 / 150, upTo: 4500 });
    expect(server.end.end, name).toBeUndefined();
    expect(server.end.violations, name).toEqual([]);
  }
});

test("a header list over the limit costs by its size", () => {
  const { parts } = flood("header lists that are too large", { everyMs: 0, upTo: MOST_FRAMES });
  // 73 kB: a unit for the refusal, one for each 8 KiB, and those of its CONTINUATIONs.
  expect(parts).toBeLessThan(100);
});
