/** What honest clients do, however often, does not end their connections: the twins of floods.ts, over sockets. */
import { setTimeout } from "node:timers/promises";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import {
  Greeter,
  NotificationSchema,
  SubscribeRequestSchema,
} from "../../gen/example/greeter_pb.js";
import { message, request } from "../support/request.ts";
import {
  data,
  envelope,
  frame,
  Http2Code,
  messages,
  rst,
  Type,
  windowUpdate,
} from "../support/wire.ts";
import { tryGrpcPushes } from "./grpc-pushes.ts";
import { RawClient } from "./raw.ts";
import { startTarget, type Target } from "./target.ts";
import { verdict } from "./verdict.ts";

const MINUTE_MS = 60_000;
/** A SubscribeRequest without end or pause: an empty `interval`. */
const ENDLESS = envelope(Buffer.of(0x12, 0));

export async function tryHonestClients(): Promise<void> {
  await using target = await startTarget();
  await Promise.all([
    pings(target),
    pausingReader(target),
    cancelledUnanswered(target),
    slowUpload(target),
    afterFirstMessage(target)
      .then(() => smallMessages(target))
      .then(() => proxy(target)),
  ]);
  await tryGrpcPushes(target.port);
}

function judge(client: RawClient, isWell: boolean, what: string): void {
  const isOpen = !client.isClosed && client.goaway === undefined;
  const end = isOpen ? "" : `; the connection was ended (GOAWAY ${client.goaway})`;
  verdict(isWell && isOpen, `${what}${end}`);
}

async function afterFirstMessage(target: Target): Promise<void> {
  await using client = await RawClient.connect(target.port);
  const calls = 10_000;
  const first = new Set<number>();
  client.onData = (stream) => {
    if (first.has(stream)) return;
    first.add(stream);
    client.write(rst(stream, Http2Code.CANCEL));
  };
  client.write(windowUpdate(0, 2 ** 30));
  const isWell = await inTurns(calls, 50, (n) => {
    client.write(request(2 * n + 1, "Subscribe"), data(2 * n + 1, ENDLESS, true));
    return () => first.size;
  });
  judge(client, isWell, `${first.size} of ${calls} calls, each cancelled after its first message`);
}

/** Starts `count` things, at most `atOnce` more than are done. */
async function inTurns(
  count: number,
  atOnce: number,
  start: (n: number) => () => number,
): Promise<boolean> {
  let done = () => 0;
  for (let n = 0; n < count; n++) {
    done = start(n);
    const until = performance.now() + 10_000;
    while (n + 1 - done() > atOnce) {
      if (performance.now() > until) return false;
      await setTimeout(1);
    }
  }
  await setTimeout(500);
  return done() === count;
}

async function cancelledUnanswered(target: Target): Promise<void> {
  await using client = await RawClient.connect(target.port);
  const [perSecond, seconds] = [150, 30];
  const began = performance.now();
  for (let n = 0; n < perSecond * seconds; n++) {
    const stream = 2 * n + 1;
    client.write(request(stream, "Collect"), data(stream, message("one")));
    client.write(rst(stream, Http2Code.CANCEL));
    const waitMs = began + ((n + 1) * 1000) / perSecond - performance.now();
    if (waitMs > 1) await setTimeout(waitMs);
  }
  judge(
    client,
    await answers(client),
    "150 calls a second, each cancelled before any answer, for 30 s",
  );
}

/** Whether the connection still serves a call. */
async function answers(client: RawClient): Promise<boolean> {
  const { ended } = client;
  const stream = 2 ** 30 + 1;
  client.write(request(stream, "SayHello"), data(stream, message("you"), true));
  return await client.until(() => client.ended > ended, 5000);
}

async function smallMessages(target: Target): Promise<void> {
  await using client = await RawClient.connect(target.port);
  let body = Buffer.alloc(0);
  client.onData = (_, payload) => {
    body = Buffer.concat([body, payload]);
  };
  client.write(request(1, "Collect"));
  // A MessageRequest with an empty field 1 has two bytes; with an empty payload the frame has five.
  const one = data(1, message(""));
  for (let n = 0; n < 100; n++) {
    client.write(...new Array<Buffer>(1000).fill(one));
    await client.flushed();
    await setTimeout(10);
  }
  client.write(data(1, Buffer.alloc(0), true));
  await client.until(() => client.ended === 1, 20_000);
  // CollectResponse { count: 100,000 }: field 1, a varint.
  const isWell = body.subarray(5, 9).equals(Buffer.of(0x08, 0xa0, 0x8d, 0x06));
  judge(client, isWell, "100,000 small messages, a frame each, in one call");
}

async function pings(target: Target): Promise<void> {
  await using client = await RawClient.connect(target.port);
  client.write(request(1, "Collect"));
  const count = 6;
  for (let n = 0; n < count; n++) {
    await setTimeout(10_000);
    client.write(frame(Type.PING, 0, 0, Buffer.alloc(8)));
  }
  const isWell = await client.until(() => client.pingAnswers === count, 2000);
  judge(client, isWell, "a ping every 10 s, for a minute");
}

async function pausingReader(target: Target): Promise<void> {
  await using client = await RawClient.connect(target.port);
  const pushes = 5000;
  const body: Buffer[] = [];
  let returnsCredit = false;
  client.onData = (_, payload) => {
    body.push(payload);
    const { length } = payload;
    if (returnsCredit && length > 0) client.write(windowUpdate(0, length), windowUpdate(1, length));
  };
  const asked = toBinary(
    SubscribeRequestSchema,
    create(SubscribeRequestSchema, { count: pushes, interval: create(DurationSchema) }),
  );
  client.write(request(1, "Subscribe", { "x-bytes": "1000" }), data(1, envelope(asked), true));
  await client.until(() => client.dataBytes === 65_535, 5000);
  const paused = client.dataBytes;
  await setTimeout(MINUTE_MS);
  const during = client.dataBytes;
  returnsCredit = true;
  client.write(windowUpdate(0, 65_535), windowUpdate(1, 65_535));
  const hasEnded = await client.until(() => client.ended === 1, MINUTE_MS);
  const sequences = messages(Buffer.concat(body)).map((bytes) => {
    return fromBinary(NotificationSchema, bytes).sequence;
  });
  const areAll =
    sequences.length === pushes && sequences.every((sequence, n) => sequence === BigInt(n + 1));
  const isWell = paused === 65_535 && during === paused && hasEnded && areAll;
  judge(
    client,
    isWell,
    `a reader that pauses for a minute: ${sequences.length} of ${pushes} pushes, in order`,
  );
}

async function proxy(target: Target): Promise<void> {
  await using client = await RawClient.connect(target.port);
  const atOnce = 1000;
  let next = 0;
  for (let round = 1; round <= 5; round++) {
    const streams = Array.from({ length: atOnce }, () => 2 * next++ + 1);
    for (const stream of streams) client.write(request(stream, "Collect"));
    await client.flushed();
    for (const stream of streams) client.write(data(stream, message("hello"), true));
    if (!(await client.until(() => client.ended === round * atOnce, 20_000))) break;
  }
  judge(client, client.ended === 5 * atOnce, `${client.ended} calls of a proxy, 1,000 at a time`);
}

/**
 * HTTP/1.1 has a deadline of 10 s for headers and of 60 s for a pause in a body, by default. A call over it that sends a
 * message every 10 s lives longer than both.
 */
async function slowUpload({ port }: Target): Promise<void> {
  const [pauses, pauseMs] = [12, 10_000];
  async function* requests() {
    yield { content: "x" };
    for (let n = 0; n < pauses; n++) {
      await setTimeout(pauseMs);
      yield { content: "x" };
    }
  }
  const baseUrl = `http://127.0.0.1:${port}`;
  const greeter = createClient(Greeter, createConnectTransport({ baseUrl, httpVersion: "1.1" }));
  const began = performance.now();
  const outcome = await greeter
    .collect(requests())
    .then(({ count }) => (count === pauses + 1 ? "OK" : `${count} arrived`), String);
  const seconds = Math.round((performance.now() - began) / 1000);
  verdict(
    outcome === "OK" && seconds >= (pauses * pauseMs) / 1000,
    `a Connect call over HTTP/1.1 with a message every 10 s: ${outcome} after ${seconds} s`,
  );
}
