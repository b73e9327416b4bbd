/** Clients that do not read what they ask for. */
import { create, toBinary } from "@bufbuild/protobuf";
import { SubscribeRequestSchema } from "../../../../gen/example/greeter_pb.js";
import { message, request } from "../../../support/request.ts";
import { data, envelope, Flag, frame, PREFACE, settings, Type } from "../../../support/wire.ts";
import { sendEchoes } from "../../endless.ts";
import { attack } from "../attack.ts";
import { WIDE } from "../attacker.ts";

const ACK = frame(Type.SETTINGS, Flag.ACK, 0);

/** A SubscribeRequest for notifications without end or pause. */
const ENDLESS = envelope(
  toBinary(SubscribeRequestSchema, create(SubscribeRequestSchema, { interval: {} })),
);

export const zeroWindowAttack = attack({
  name: "zero-windows",
  does: "4,000 calls of Subscribe without a pause, over 4 connections whose windows are 0",
  sizes: [
    { connections: 4, streams: 1000, windowBytes: 0 },
    { connections: 1, streams: 1000, windowBytes: 1 },
    { connections: 50, streams: 200, windowBytes: 0 },
  ],
  async run(attacker, { connections, streams, windowBytes }) {
    const greeting = [PREFACE, settings({ 4: windowBytes }), ACK];
    for (const client of await attacker.connectAll(connections, greeting)) {
      for (let stream = 1; stream < 2 * streams; stream += 2) {
        client.write(request(stream, "Subscribe"), data(stream, ENDLESS, true));
        attacker.count("calls");
      }
    }
    await attacker.untilOver();
  },
});

export const unreadAttack = attack({
  name: "unread",
  does: "8,000 calls of Chat over 8 connections that send all that the server takes, and read nothing",
  sizes: [
    { connections: 8, streams: 1000, messageBytes: 1000, windowBytes: 65_535 },
    { connections: 2, streams: 1000, messageBytes: 20, windowBytes: 0 },
    { connections: 40, streams: 100, messageBytes: 60_000, windowBytes: 65_535 },
  ],
  async run(attacker, { connections, streams, messageBytes, windowBytes }) {
    const greeting = [PREFACE, settings({ 4: windowBytes }), ACK];
    const content = message("x".repeat(messageBytes));
    for (const client of await attacker.connectAll(connections, greeting)) {
      sendEchoes(client, content, streams);
      attacker.count("calls", streams);
    }
    await attacker.untilOver();
  },
});

export const busyChatAttack = attack({
  name: "busy-chat",
  does: "one connection with 100 chats that send as much as the server takes, and read all",
  sizes: [
    { connections: 1, streams: 100, messageBytes: 15 },
    { connections: 1, streams: 1000, messageBytes: 1000 },
    { connections: 8, streams: 20, messageBytes: 16_000 },
  ],
  async run(attacker, { connections, streams, messageBytes }) {
    const content = message("x".repeat(messageBytes));
    for (const client of await attacker.connectAll(connections, WIDE)) {
      sendEchoes(client, content, streams);
    }
    await attacker.untilOver();
  },
});
