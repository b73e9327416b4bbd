/** Sessions that are opened for what the server keeps of them. */
import { create, toBinary } from "@bufbuild/protobuf";
import { SubscribeRequestSchema } from "../../../../gen/example/greeter_pb.js";
import { request } from "../../../support/request.ts";
import { end, newId } from "../../../support/session-peer.ts";
import { data, envelope } from "../../../support/wire.ts";
import type { RawClient } from "../../raw.ts";
import { attack } from "../attack.ts";
import { type Attacker, WIDE } from "../attacker.ts";

/** The default of `sessions.graceMs`: for so long the server keeps what an attack leaves. */
export const SESSION_GRACE_MS = 30_000;

/** The largest window that the server has for a session. */
const WINDOW = "1048576,16384";

/** A SubscribeRequest for notifications without end or pause, and the half-close after it. */
const ENDLESS = Buffer.concat([
  envelope(toBinary(SubscribeRequestSchema, create(SubscribeRequestSchema, { interval: {} }))),
  end(1),
]);

/** Makes the headers of attachments at the attacked server. */
export async function attachments(attacker: Attacker) {
  const { terms, serverNowMs } = await attacker.sessionPeer();
  return {
    /** Those of attachment 1. */
    first: (id: string) => ({
      ...{ "hawser-session": id, "hawser-attach": "1", "hawser-received": "0" },
      ...{
        "hawser-window": WINDOW,
        "hawser-epoch": terms.epoch,
        "hawser-opened": `${serverNowMs}`,
      },
    }),
    /** Those of a later attachment of a session that was answered. */
    later: (id: string, attach: number, received = 0) => ({
      ...{ "hawser-session": id, "hawser-attach": `${attach}`, "hawser-received": `${received}` },
      ...{ "hawser-window": WINDOW, "hawser-epoch": terms.epoch },
    }),
  };
}

export const openAndDropAttack = attack({
  name: "open-and-drop",
  does: "26 connections that each open 100 sessions and are dropped, again and again, up to 100,000 sessions",
  sizes: [
    { connections: 26, sessions: 100, most: 100_000, addresses: 1 },
    { connections: 26, sessions: 1000, most: 100_000, addresses: 26 },
    // Each session keeps a connection of its own in the server's memory, if anything does.
    { connections: 100, sessions: 1, most: 20_000, addresses: 2 },
  ],
  leavesForMs: SESSION_GRACE_MS,
  resumes: true,
  async run(attacker, { connections, sessions, most }) {
    const { first } = await attachments(attacker);
    let opened = 0;
    await attacker.inParallel(connections, async () => {
      if (opened >= most) return false;
      opened += sessions;
      const client = await attacker.connect(WIDE);
      if (client === undefined) return true;
      for (let n = 0; n < sessions; n++) {
        client.write(request(2 * n + 1, "Chat", first(newId())));
      }
      attacker.count("sessions asked for", sessions);
      // A session is open when its headers have been answered; those that are refused have ended.
      await client.until(() => client.answers >= sessions, 2000);
      attacker.count("streams refused", client.ended + client.resets);
      await attacker.leave(client);
      return true;
    });
  },
});

export const fillBytesAttack = attack({
  name: "fill-bytes",
  does: "1,000 sessions of Subscribe without a pause, over 10 connections that are dropped when their windows are full",
  sizes: [
    { connections: 10, sessions: 100, stayMs: 2000, addresses: 1 },
    { connections: 1, sessions: 900, stayMs: 4000, addresses: 1 },
    { connections: 50, sessions: 20, stayMs: 500, addresses: 50 },
  ],
  leavesForMs: SESSION_GRACE_MS,
  resumes: true,
  async run(attacker, { connections, sessions, stayMs }) {
    const { first } = await attachments(attacker);
    const clients = await attacker.connectAll(connections, WIDE);
    for (const client of clients) subscribeAll(client, sessions, first);
    attacker.count("sessions asked for", connections * sessions);
    await new Promise((resolve) => setTimeout(resolve, stayMs));
    for (const client of clients) await attacker.leave(client);
    await attacker.untilOver();
  },
});

export const liveBytesAttack = attack({
  name: "live-bytes",
  does: "1,980 sessions of Subscribe without a pause, over 2 connections that read all and acknowledge nothing",
  sizes: [
    { connections: 2, sessions: 990 },
    { connections: 20, sessions: 99 },
    { connections: 100, sessions: 5 },
  ],
  leavesForMs: SESSION_GRACE_MS,
  resumes: true,
  async run(attacker, { connections, sessions }) {
    const { first } = await attachments(attacker);
    for (const client of await attacker.connectAll(connections, WIDE)) {
      subscribeAll(client, sessions, first);
    }
    attacker.count("sessions asked for", connections * sessions);
    await attacker.untilOver();
  },
});

function subscribeAll(
  client: RawClient,
  sessions: number,
  first: (id: string) => Record<string, string>,
): void {
  for (let stream = 1; stream < 2 * sessions; stream += 2) {
    client.write(request(stream, "Subscribe", first(newId())), data(stream, ENDLESS));
  }
}
