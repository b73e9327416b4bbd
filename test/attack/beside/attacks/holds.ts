/** Clients that make the server wait. */
import { setTimeout } from "node:timers/promises";
import { holds } from "../../holds.ts";
import { attack } from "../attack.ts";

/** The ports of one address, which a closed connection keeps for a minute, are not used up. */
const MOST_CONNECTIONS = 20_000;

/** The deadlines of the server are 10 s, and a connection may have to wait for its turn. */
const LASTS_MS = 13_000;

export const holdAttack = attack({
  name: "holds",
  does: "500 connections that send nothing, half a preface, no SETTINGS, no acknowledgement, or half a header block",
  sizes: [{ each: 100 }, { each: 10 }, { each: 400 }],
  ends: "hold",
  lastsMs: LASTS_MS,
  async run(attacker, { each }) {
    const opened = await Promise.all(
      holds.map(({ greeting }) => attacker.connectAll(each, greeting)),
    );
    await Promise.all(opened.flat().map((client) => attacker.untilClosed(client)));
  },
});

export const slowHeadersAttack = attack({
  name: "slow-headers",
  does: "300 requests over HTTP/1.1 whose headers come a byte a second",
  sizes: [
    { connections: 300, everyMs: 1000 },
    { connections: 50, everyMs: 100 },
    { connections: 2000, everyMs: 3000 },
  ],
  ends: "hold",
  lastsMs: LASTS_MS,
  async run(attacker, { connections, everyMs }) {
    const begin = [Buffer.from("POST /example.Greeter/SayHello HTTP/1.1\r\nx-slow: ")];
    const clients = await attacker.connectAll(connections, begin);
    while (!attacker.isOver && clients.some((client) => !client.isClosed)) {
      for (const client of clients) client.write(Buffer.from("x"));
      await setTimeout(everyMs);
    }
  },
});

export const connectionAttack = attack({
  name: "connections",
  does: "connections that are opened and closed, 100 at a time, 20,000 in all",
  sizes: [
    { atOnce: 100, most: MOST_CONNECTIONS },
    { atOnce: 10, most: MOST_CONNECTIONS },
    { atOnce: 1000, most: MOST_CONNECTIONS },
  ],
  run: (attacker, { atOnce, most }) =>
    attacker.atMost(most, atOnce, async () => {
      const client = await attacker.connect([]);
      if (client !== undefined) await attacker.leave(client);
    }),
});

export const idleConnectionAttack = attack({
  name: "idle-connections",
  does: "12,000 connections of HTTP/2 that stay open and do nothing",
  sizes: [
    { connections: 12_000, addresses: 1 },
    { connections: 2000, addresses: 1 },
    { connections: 12_000, addresses: 12 },
  ],
  lastsMs: 15_000,
  async run(attacker, { connections }) {
    await attacker.atMost(connections, 100, () => attacker.connect());
    await attacker.untilOver();
  },
});
