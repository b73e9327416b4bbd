/** WebSockets: what their frames cost the server, and what it keeps of them. */
import { setImmediate } from "node:timers/promises";
import { BINARY, frame } from "../../../support/raw-web-socket.ts";
import { message } from "../../../support/request.ts";
import { data } from "../../../support/wire.ts";
import { sendEchoes } from "../../endless.ts";
import type { RawClient } from "../../raw.ts";
import { attack } from "../attack.ts";
import { type Attacker, WIDE } from "../attacker.ts";

/** The ports of one address, which a closed connection keeps for a minute, are not used up. */
const MOST_CONNECTIONS = 20_000;

/** How long a client waits for the answer to its request for a WebSocket. */
const PATIENCE_MS = 5000;

const EMPTY = Buffer.alloc(0);

async function openAll(
  attacker: Attacker,
  count: number,
  greeting?: readonly Uint8Array[],
): Promise<RawClient[]> {
  const all = await Promise.all(
    Array.from({ length: count }, () => attacker.openWebSocket(greeting)),
  );
  return all.filter((client) => client !== undefined);
}

export const tinyMessagesAttack = attack({
  name: "web-socket-tiny-messages",
  does: "4 WebSockets, each with a chat whose messages have no text: each in a message of the WebSocket, of 14 B",
  sizes: [
    { connections: 4, streams: 1 },
    { connections: 1, streams: 100 },
    { connections: 64, streams: 1 },
  ],
  async run(attacker, { connections, streams }) {
    for (const client of await openAll(attacker, connections, WIDE)) {
      sendEchoes(client, message(""), streams);
    }
    await attacker.untilOver();
  },
});

/** A message of HTTP/2's size, then 126 empty fragments, and the last one. */
const FRAGMENTS = Buffer.concat([
  frame({ opcode: BINARY, payload: data(1, message("")), fin: false }),
  ...new Array<Buffer>(126).fill(frame({ opcode: 0, payload: EMPTY, fin: false })),
  frame({ opcode: 0, payload: EMPTY }),
]);

export const fragmentsAttack = attack({
  name: "web-socket-fragments",
  does: "messages of a WebSocket in 128 fragments, of which 127 are empty: 4 connections, each replaced when it is closed",
  sizes: [
    { workers: 4, messagesAtOnce: 100 },
    { workers: 1, messagesAtOnce: 1000 },
    { workers: 32, messagesAtOnce: 10 },
  ],
  ends: "flood",
  run: (attacker, { workers, messagesAtOnce }) =>
    attacker.inParallel(workers, async () => {
      const client = await attacker.openWebSocket(WIDE);
      if (client === undefined) return true;
      const part = Buffer.concat(new Array<Buffer>(messagesAtOnce).fill(FRAGMENTS));
      while (!client.isClosed && !attacker.isOver) {
        client.writeRaw(part);
        await client.flushed();
        await new Promise((resolve) => setTimeout(resolve));
      }
      if (!client.isClosed) await attacker.leave(client);
      return true;
    }),
});

export const unfinishedMessagesAttack = attack({
  name: "web-socket-unfinished-messages",
  does: "1,000 WebSockets that send 128 KiB of a message without its last byte",
  sizes: [
    { connections: 1000, bytes: 128 * 1024 - 1, reads: 1 },
    { connections: 4000, bytes: 128 * 1024 - 1, reads: 1 },
    // Each read of the server brings a byte.
    { connections: 500, bytes: 1000, reads: 1000 },
  ],
  lastsMs: 15_000,
  async run(attacker, { connections, bytes, reads }) {
    const clients = await openAll(attacker, connections, WIDE);
    const whole = frame({ opcode: BINARY, payload: Buffer.alloc(128 * 1024) }).subarray(0, bytes);
    const each = Math.ceil(bytes / reads);
    for (let at = 0; at < bytes && !attacker.isOver; at += each) {
      for (const client of clients) client.writeRaw(whole.subarray(at, at + each));
      await setImmediate();
    }
    await attacker.untilOver();
  },
});

export const upgradesAttack = attack({
  name: "web-socket-upgrades",
  does: "WebSockets that are opened and closed, 100 at a time, 20,000 in all",
  sizes: [
    { atOnce: 100, most: MOST_CONNECTIONS },
    { atOnce: 10, most: MOST_CONNECTIONS },
    { atOnce: 1000, most: MOST_CONNECTIONS },
  ],
  run: (attacker, { atOnce, most }) =>
    attacker.atMost(most, atOnce, async () => {
      const client = await attacker.openWebSocket();
      if (client === undefined) return;
      await client.until(() => client.hasWebSocketAnswer, PATIENCE_MS);
      await attacker.leave(client);
    }),
});
