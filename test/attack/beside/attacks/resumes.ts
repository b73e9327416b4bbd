/** Attachments that are asked for: of sessions that do not exist, of others, and again and again. */
import { message, request } from "../../../support/request.ts";
import { newId, received } from "../../../support/session-peer.ts";
import { data } from "../../../support/wire.ts";
import { sendEndlessly } from "../../endless.ts";
import { attack } from "../attack.ts";
import { type Attacker, WIDE } from "../attacker.ts";
import { attachments, SESSION_GRACE_MS } from "./sessions.ts";

export const guessIdsAttack = attack({
  name: "guess-ids",
  does: "300,000 attachments with invented ids, 500 at a time on each of 6 connections",
  sizes: [
    { connections: 6, atOnce: 500, most: 300_000 },
    { connections: 1, atOnce: 1000, most: 300_000 },
    { connections: 60, atOnce: 20, most: 300_000 },
  ],
  resumes: true,
  async run(attacker, { connections, atOnce, most }) {
    const { later } = await attachments(attacker);
    await attachAgain(attacker, { connections, atOnce, most }, () => later(newId(), 2));
  },
});

export const cancelsAttack = attack({
  name: "invented-cancels",
  does: "105,000 cancels of sessions that never existed, 500 at a time",
  sizes: [
    { connections: 1, atOnce: 500, most: 105_000 },
    { connections: 20, atOnce: 100, most: 105_000 },
    { connections: 120, atOnce: 10, most: 240_000 },
  ],
  resumes: true,
  async run(attacker, { connections, atOnce, most }) {
    const { first } = await attachments(attacker);
    await attachAgain(attacker, { connections, atOnce, most }, () => ({
      ...first(newId()),
      ...{ "hawser-attach": "2", "hawser-cancel": "1" },
    }));
  },
});

export const resumeFloodAttack = attack({
  name: "resume-flood",
  does: "300,000 resumes of 600 sessions of its own, from 6 connections",
  sizes: [
    { connections: 6, sessions: 100, atOnce: 200, most: 300_000, addresses: 1 },
    { connections: 1, sessions: 1, atOnce: 500, most: 300_000, addresses: 1 },
    { connections: 30, sessions: 10, atOnce: 50, most: 300_000, addresses: 5 },
  ],
  leavesForMs: SESSION_GRACE_MS,
  resumes: true,
  async run(attacker, { connections, sessions, atOnce, most }) {
    const { first, later } = await attachments(attacker);
    const ids = await openSessions(attacker, connections * sessions, first);
    let attach = 1;
    await attachAgain(attacker, { connections, atOnce, most }, (n) => {
      if (n % ids.length === 0) attach++;
      return later(ids[n % ids.length] as string, attach);
    });
  },
});

export const takeoverAttack = attack({
  name: "takeover-war",
  does: "4 connections that take 20 sessions from each other, each with messages that are sent again",
  sizes: [
    { connections: 4, sessions: 20, atOnce: 50, most: 300_000 },
    { connections: 2, sessions: 1, atOnce: 10, most: 300_000 },
    { connections: 20, sessions: 100, atOnce: 20, most: 300_000 },
  ],
  leavesForMs: SESSION_GRACE_MS,
  resumes: true,
  async run(attacker, { connections, sessions, atOnce, most }) {
    const { first, later } = await attachments(attacker);
    const chats = Buffer.concat(Array.from({ length: 16 }, () => message("x".repeat(1000))));
    const ids = await openSessions(attacker, sessions, first, chats);
    // The connections ask in turn, each with a higher number than the one before.
    await attachAgain(attacker, { connections, atOnce, most }, (n) => {
      return later(ids[n % ids.length] as string, 2 + Math.floor(n / ids.length));
    });
  },
});

export const lyingAcknowledgementsAttack = attack({
  name: "lying-acknowledgements",
  does: "16 million acknowledgements of messages that were acknowledged before, on 10 sessions",
  sizes: [
    { connections: 1, sessions: 10, perFrame: 2340 },
    { connections: 10, sessions: 1, perFrame: 100 },
    { connections: 4, sessions: 100, perFrame: 1 },
  ],
  leavesForMs: SESSION_GRACE_MS,
  resumes: true,
  async run(attacker, { connections, sessions, perFrame }) {
    const { first } = await attachments(attacker);
    const content = Buffer.concat(new Array<Buffer>(perFrame).fill(received(0)));
    const open = (stream: number) => request(stream, "Chat", first(newId()));
    const clients = await attacker.connectAll(connections, WIDE);
    for (const client of clients) sendEndlessly(client, { streams: sessions, content, open });
    const most = 16e6 * received(0).length;
    const sent = () => clients.reduce((sum, { sentBytes }) => sum + sentBytes, 0);
    while (!attacker.isOver && sent() < most) await new Promise((turn) => setTimeout(turn, 20));
    attacker.count("acknowledgements", Math.round(sent() / received(0).length));
    for (const client of clients) await attacker.leave(client);
  },
});

interface Attachments {
  readonly connections: number;
  /** How many streams each connection has open at a time. */
  readonly atOnce: number;
  readonly most: number;
}

/**
 * Asks for attachments with the headers that `next` makes, until that many were made or the time is over. A connection that
 * the server closes is replaced.
 */
async function attachAgain(
  attacker: Attacker,
  { connections, atOnce, most }: Attachments,
  next: (n: number) => Record<string, string>,
): Promise<void> {
  let made = 0;
  await attacker.inParallel(connections, async () => {
    const client = await attacker.connect(WIDE);
    if (client === undefined) return true;
    for (let asked = 0; made < most && !attacker.isOver && !client.isClosed; ) {
      const burst = Math.min(atOnce, most - made);
      for (let n = 0; n < burst; n++) {
        client.write(request(2 * asked++ + 1, "Chat", next(made++)));
      }
      attacker.count("attachments", burst);
      // Those that were accepted end when the next one takes their session over.
      await client.until(() => client.answers + client.resets >= asked || attacker.isOver, 1000);
    }
    return made < most;
  });
  await attacker.untilOver();
}

/** Opens sessions of Chat on a connection that is then dropped; `frames` are sent on each. Returns their ids. */
async function openSessions(
  attacker: Attacker,
  count: number,
  first: (id: string) => Record<string, string>,
  frames?: Buffer,
): Promise<string[]> {
  const client = await attacker.connect(WIDE);
  if (client === undefined) return [];
  const ids = Array.from({ length: count }, newId);
  for (const [n, id] of ids.entries()) {
    client.write(request(2 * n + 1, "Chat", first(id)));
    if (frames !== undefined) client.write(data(2 * n + 1, frames));
  }
  await client.until(() => client.answers >= count, 2000);
  await attacker.leave(client);
  return ids;
}
