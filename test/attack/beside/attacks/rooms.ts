/** Chat rooms: what joins, lists and posts cost the server. */
import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  JoinRequestSchema,
  ListRoomsRequestSchema,
  PostRequestSchema,
} from "../../../../gen/chat/v1/room_pb.js";
import { request } from "../../../support/request.ts";
import { newId } from "../../../support/session-peer.ts";
import { data, envelope } from "../../../support/wire.ts";
import { attack } from "../attack.ts";
import { WIDE } from "../attacker.ts";
import { callsAtOnce } from "./busy.ts";

/** A framed message. */
function framed<D extends DescMessage>(schema: D, init: MessageInitShape<D>): Buffer {
  return envelope(toBinary(schema, create(schema, init)));
}

export const joinsAttack = attack({
  name: "joins",
  does: "10,000 joins into one room, over 10 connections",
  sizes: [
    { connections: 10, joins: 1000 },
    { connections: 1, joins: 900 },
    { connections: 200, joins: 50 },
  ],
  beside: "post",
  async run(attacker, { connections, joins }) {
    for (const [at, client] of (await attacker.connectAll(connections, WIDE)).entries()) {
      for (let n = 0; n < joins; n++) {
        const open = { room: "crowd", name: `member ${at} ${n}`, producer: newId() };
        const body = framed(JoinRequestSchema, { event: { case: "open", value: open } });
        const stream = 2 * n + 1;
        client.write(request(stream, "/chat.v1.RoomService/Join"), data(stream, body));
      }
      attacker.count("joins", joins);
    }
    await attacker.untilOver();
  },
});

export const listRoomsAttack = attack({
  name: "list-rooms",
  does: "ListRooms of 50,000 rooms, 100 calls at a time on one connection",
  sizes: [
    { connections: 1, atOnce: 100, pageSize: 1000 },
    { connections: 10, atOnce: 100, pageSize: 100 },
    { connections: 30, atOnce: 10, pageSize: 1 },
  ],
  rooms: 50_000,
  async run(attacker, { connections, atOnce, pageSize }) {
    const body = framed(ListRoomsRequestSchema, { pageSize });
    const path = "/chat.v1.RoomService/ListRooms";
    await callsAtOnce(attacker, { connections, atOnce }, () => ({ path, body }));
  },
});

export const postsAttack = attack({
  name: "posts-on-disk",
  does: "posts of 4 kB to rooms on disk, 100 at a time on each of 6 connections",
  sizes: [
    { connections: 6, atOnce: 100, textBytes: 4000, rooms: 10 },
    { connections: 1, atOnce: 1000, textBytes: 4000, rooms: 1 },
    { connections: 20, atOnce: 50, textBytes: 10, rooms: 10_000 },
  ],
  onDisk: true,
  beside: "post",
  async run(attacker, { connections, atOnce, textBytes, rooms }) {
    const text = "x".repeat(textBytes);
    const producer = newId();
    const path = "/chat.v1.RoomService/Post";
    // At most 800 MB.
    const most = Math.floor(8e8 / (textBytes + 100));
    await callsAtOnce(attacker, { connections, atOnce, most }, (n) => {
      const post = { room: `room ${n % rooms}`, name: "eve", text, producer };
      return { path, body: framed(PostRequestSchema, { ...post, sequence: BigInt(n + 1) }) };
    });
  },
});
