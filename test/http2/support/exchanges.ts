/** Exchanges between two engines: what a client does, and how the server answers by the path. */
import { Http2Code } from "../../support/wire.ts";
import type { End } from "./end.ts";
import type { LinkOptions } from "./link.ts";
import type { StreamHooks, StreamLog } from "./stream-log.ts";

const OK = [":status", "200", "content-type", "application/grpc"];
const TRAILERS = ["grpc-status", "0", "x-trail-bin", "AAEC"];

export function request(path: string, ...more: string[]): string[] {
  return [
    ...[":method", "POST", ":scheme", "http", ":path", path, ":authority", "localhost"],
    ...["content-type", "application/grpc", "te", "trailers", ...more],
  ];
}

export const text = (content: string) => Buffer.from(content);

/** How a path is answered: when the request comes, and later. */
interface Answer extends StreamHooks {
  request?(log: StreamLog): void;
}

const answers: Record<string, Answer> = {
  "/unary": {
    end(log) {
      log.stream.sendHeaders(OK);
      log.writeMessage(log.body.subarray(5));
      log.stream.end(TRAILERS);
    },
  },
  "/push": {
    request(log) {
      log.stream.sendHeaders(OK);
      for (const content of ["one", "two", "", "three"]) log.writeMessage(text(content));
      log.stream.end(TRAILERS);
    },
  },
  "/echo": {
    request: (log) => log.stream.sendHeaders(OK),
    data: (log, bytes) => void log.write(Buffer.from(bytes)),
    end: (log) => log.stream.end(log.trailers ?? TRAILERS),
  },
  "/trailers-only": {
    request: (log) =>
      log.stream.sendHeaders([...OK, "grpc-status", "5", "grpc-message", "none"], true),
  },
  "/early": {
    request(log) {
      log.stream.sendHeaders(OK);
      log.stream.end(TRAILERS);
      log.stopReading();
    },
  },
  "/refused": { request: (log) => log.stream.reset(Http2Code.REFUSED_STREAM) },
  "/reset": {
    end(log) {
      log.stream.sendHeaders(OK);
      log.writeMessage(text("one"));
      log.stream.reset(Http2Code.INTERNAL_ERROR);
    },
  },
  "/informational": {
    end(log) {
      log.stream.sendHeaders([":status", "103", "link", "</style.css>"]);
      log.stream.sendHeaders([":status", "100"]);
      log.stream.sendHeaders([":status", "204"], true);
    },
  },
  "/endless": {
    request(log) {
      log.stream.sendHeaders(OK);
      log.writeMessage(text("one"));
    },
  },
  "/no-body": {
    end(log) {
      log.stream.sendHeaders(OK);
      log.stream.end();
    },
  },
  "/large-headers": {
    end(log) {
      log.stream.sendHeaders([...OK, "x-large", "v".repeat(40_000)]);
      log.stream.end([...TRAILERS, "x-large-trail", "t".repeat(20_000)]);
    },
  },
  "/drain": {
    request: (log) => log.stream.connection.goaway("moving"),
    end(log) {
      log.stream.sendHeaders(OK);
      log.stream.end(TRAILERS);
    },
  },
  "/close": { end: (log) => log.stream.connection.close(Http2Code.INTERNAL_ERROR, "no more") },
};

/** A server that answers by the path. */
export const answering: NonNullable<LinkOptions["server"]> = {
  onRequest: (log) => answerOf(log).request?.(log),
  hooks: {
    data: (log, bytes) => answerOf(log).data?.(log, bytes),
    end: (log) => answerOf(log).end?.(log),
  },
};

function answerOf(log: StreamLog): Answer {
  const path = log.headers?.[log.headers.indexOf(":path") + 1] as string;
  const answer = answers[path];
  if (answer === undefined) throw new Error(`there is no path ${path}`);
  return answer;
}

export interface Exchange {
  readonly name: string;
  readonly run: (client: End) => void;
  /** What becomes of the streams at each end, as summaryOf() has it. */
  readonly ends: { readonly client: readonly string[]; readonly server: readonly string[] };
  /** Whether there are too many offsets to try each of them. */
  readonly isLong?: true;
}

function unary(client: End, path = "/unary", content = "hello"): void {
  const call = client.open(request(path));
  call.writeMessage(text(content));
  call.stream.end();
}

function ids(count: number, summary: (n: number) => string): string[] {
  return Array.from({ length: count }, (_, n) => summary(n));
}

export const exchanges: readonly Exchange[] = [
  {
    name: "a unary call",
    ends: { client: ["1: 200, 10 B, trailers, end; ended"], server: ["1: 10 B, end; ended"] },
    run: (client) => unary(client),
  },
  {
    name: "a push",
    ends: { client: ["1: 200, 31 B, trailers, end; ended"], server: ["1: end; ended"] },
    run: (client) => void client.open(request("/push"), {}, true),
  },
  {
    name: "a chat",
    ends: { client: ["1: 200, 43 B, trailers, end; ended"], server: ["1: 43 B, end; ended"] },
    run(client) {
      const more = ["two", "", "three"];
      const call = client.open(request("/echo"), {
        data(log) {
          const next = more.shift();
          if (next === undefined) log.stream.end();
          else log.write(text(`message ${next}`));
        },
      });
      call.write(text("message one"));
    },
  },
  {
    name: "a request with trailers",
    ends: {
      client: ["1: 200, 5 B, trailers, end; ended"],
      server: ["1: 5 B, trailers, end; ended"],
    },
    run(client) {
      const call = client.open(request("/echo"));
      call.write(text("hello"));
      call.stream.end(["x-sum", "5"]);
    },
  },
  {
    name: "an answer of headers alone",
    ends: { client: ["1: 200, end; ended"], server: ["1: 10 B, end; ended"] },
    run: (client) => unary(client, "/trailers-only"),
  },
  {
    name: "an answer before the request has ended",
    ends: { client: ["1: 200, trailers, end; peer"], server: ["1: ended"] },
    run(client) {
      const call = client.open(request("/early"));
      call.writeMessage(text("one"));
    },
  },
  {
    name: "an answer before the end of a request without a body is reported",
    ends: { client: ["1: 200, trailers, end; ended"], server: ["1: end; ended"] },
    run: (client) => void client.open(request("/early"), {}, true),
  },
  {
    name: "a refused stream",
    ends: { client: ["1: peer 7, unprocessed"], server: ["1: reset 7"] },
    run: (client) => unary(client, "/refused"),
  },
  {
    name: "a stream that the server resets",
    ends: { client: ["1: 200, 8 B; peer 2"], server: ["1: 10 B, end; reset 2"] },
    run: (client) => unary(client, "/reset"),
  },
  {
    name: "informational responses",
    ends: { client: ["1: 204, end; ended"], server: ["1: 10 B, end; ended"] },
    run: (client) => unary(client, "/informational"),
  },
  {
    name: "a stream that the client resets after a message",
    ends: { client: ["1: 200, 8 B; reset 8"], server: ["1: peer 8"] },
    run: (client) =>
      void client.open(request("/endless"), {
        data(log) {
          if (log.bytes === 8) log.stream.reset(Http2Code.CANCEL);
        },
      }),
  },
  {
    name: "an answer without a body",
    ends: { client: ["1: 200, end; ended"], server: ["1: 10 B, end; ended"] },
    run: (client) => unary(client, "/no-body"),
  },
  {
    name: "a server that goes away",
    ends: { client: ["1: 200, trailers, end; ended"], server: ["1: 10 B, end; ended"] },
    run: (client) => unary(client, "/drain"),
  },
  {
    name: "a server that closes the connection",
    ends: { client: ["1: connection 2"], server: ["1: 10 B, end; connection 2"] },
    run: (client) => unary(client, "/close"),
  },
  {
    name: "two streams at a time, and a ping",
    ends: {
      client: [
        "1: 200, 10 B, trailers, end; ended",
        "3: 200, 31 B, trailers, end; ended",
        "5: 200, 19 B, trailers, end; ended",
      ],
      server: ["1: 10 B, end; ended", "3: 11 B, end; ended", "5: 19 B, end; ended"],
    },
    run(client) {
      unary(client, "/unary", "first");
      client.connection.ping(() => unary(client, "/unary", "after the ping"));
      unary(client, "/push", "second");
    },
  },
  {
    name: "a client that goes away",
    ends: { client: ["1: 200, 10 B, trailers, end; ended"], server: ["1: 10 B, end; ended"] },
    run(client) {
      unary(client);
      client.connection.goaway("bye");
    },
  },
  {
    name: "header blocks in CONTINUATION frames",
    ends: { client: ["1: 200, trailers, end; ended"], server: ["1: 10 B, end; ended"] },
    run: (client) => unary(client, "/large-headers"),
    isLong: true,
  },
  {
    name: "a request in CONTINUATION frames",
    ends: { client: ["1: 200, 31 B, trailers, end; ended"], server: ["1: end; ended"] },
    run: (client) => void client.open(request("/push", "x-large", "v".repeat(20_000)), {}, true),
    isLong: true,
  },
  {
    name: "70 kB each way",
    ends: {
      client: ["1: 200, 70005 B, trailers, end; ended"],
      server: ["1: 70005 B, end; ended"],
    },
    run(client) {
      const call = client.open(request("/unary"));
      call.writeMessage(Buffer.from(Array.from({ length: 70_000 }, (_, i) => i * 7)));
      call.stream.end();
    },
    isLong: true,
  },
  {
    name: "many calls with the same headers and others",
    ends: {
      client: ids(50, (n) => `${2 * n + 1}: 200, ${n < 10 ? 11 : 12} B, trailers, end; ended`),
      server: ids(50, (n) => `${2 * n + 1}: ${n < 10 ? 11 : 12} B, end; ended`),
    },
    run(client) {
      for (let n = 0; n < 50; n++) {
        const call = client.open(request("/unary", "x-number", `${n % 7}`, "x-same", "yes"));
        call.writeMessage(text(`call ${n}`));
        call.stream.end();
      }
    },
    isLong: true,
  },
];
