import { gzipSync } from "node:zlib";
import { expect, it } from "vitest";
import { Code, ConnectError } from "../src/index.ts";
import {
  type FakeCall,
  fakeServer,
  outcomeOf,
  responseHeaders,
  trailers,
} from "./support/fake-server.ts";
import { message, text } from "./support/watched-server.ts";
import { data, envelope, Http2Code, headers, uint32 } from "./support/wire.ts";

// Bad responses, one level above HTTP/2: each is an error with its code, never a clean end. Meanwhile another call on
// the same connection continues, and the next call is served.

interface BadResponse {
  readonly what: string;
  /** Writes the server's answer, as soon as it has the request's headers. */
  readonly answer: (stream: number) => Buffer[];
  readonly code: Code | readonly Code[];
  readonly message?: RegExp;
  /** The replies that a Chat receives before its error. */
  readonly replies?: readonly string[];
  /** Whether the server ends the stream, so that the client has nothing to reset. */
  readonly ended?: boolean;
}

const hello = message("hello");
/** Any of these codes is right: the documents leave the choice open. */
const internalOrUnknown = [Code.Internal, Code.Unknown] as const;

const badResponses: BadResponse[] = [
  {
    what: "headers that end the stream, without a status",
    answer: (s) => [responseHeaders(s, {}, true)],
    code: internalOrUnknown,
    ended: true,
  },
  {
    what: "an end without trailers",
    answer: (s) => [responseHeaders(s), data(s, hello, true)],
    code: internalOrUnknown,
    replies: ["hello"],
    ended: true,
  },
  {
    what: "an end without a message or trailers",
    answer: (s) => [responseHeaders(s), data(s, Buffer.alloc(0), true)],
    code: internalOrUnknown,
    ended: true,
  },
  {
    what: "trailers without a status",
    answer: (s) => [responseHeaders(s), data(s, hello), headers(s, [["grpc-message", "x"]], true)],
    code: internalOrUnknown,
    replies: ["hello"],
    ended: true,
  },
  {
    what: "a status in the headers only, though messages follow",
    answer: (s) => [responseHeaders(s, { "grpc-status": "0" }), data(s, hello, true)],
    code: internalOrUnknown,
    replies: ["hello"],
    ended: true,
  },
  ...["", "-1", "17", "99", "4294967296", "0x0", "00", "0.0", "1e0", "OK", "NaN", "0,0", "0 0"].map(
    (status) => ({
      what: `the grpc-status "${status}"`,
      answer: (s: number) => [responseHeaders(s), data(s, hello), trailers(s, status, "sad")],
      code: Code.Unknown,
      message: /^\d+$/.test(status) ? /^sad$/ : /^sad \(.*grpc-status ".*" is not a status code/,
      replies: ["hello"],
      ended: true,
    }),
  ),
  {
    what: "the grpc-status 17 without a message",
    answer: (s) => [responseHeaders(s), trailers(s, 17)],
    code: Code.Unknown,
    message: /grpc-status "17" is not a status code of gRPC/,
    ended: true,
  },
  {
    what: "the grpc-status 17 of trailers only",
    answer: (s) => [responseHeaders(s, { "grpc-status": "17", "grpc-message": "sad" }, true)],
    code: Code.Unknown,
    message: /^sad$/,
    ended: true,
  },
  {
    what: "two statuses",
    answer: (s) => [
      responseHeaders(s),
      headers(
        s,
        [
          ["grpc-status", "0"],
          ["grpc-status", "5"],
        ],
        true,
      ),
    ],
    code: [Code.Internal, Code.Unknown, Code.NotFound],
    ended: true,
  },
  {
    what: "a trailers-only error",
    answer: (s) => [responseHeaders(s, { "grpc-status": "5", "grpc-message": "no%20such" }, true)],
    code: Code.NotFound,
    message: /^no such$/,
    ended: true,
  },
  {
    what: "an error after a message",
    answer: (s) => [responseHeaders(s), data(s, hello), trailers(s, 5, "no such")],
    code: Code.NotFound,
    message: /^no such$/,
    replies: ["hello"],
    ended: true,
  },
  {
    what: "an error in the trailers and another in the headers",
    answer: (s) => [
      responseHeaders(s, { "grpc-status": "8" }),
      data(s, hello),
      trailers(s, 9, "this one"),
    ],
    code: Code.FailedPrecondition,
    message: /^this one$/,
    replies: ["hello"],
    ended: true,
  },
  ...["%", "%4", "%zz", "%ff%fe", "100% sure", "%E4%B8", "caf\u00e9"].map((text) => ({
    what: `the grpc-message "${text}"`,
    answer: (s: number) => [responseHeaders(s), trailers(s, 9, text)],
    code: Code.FailedPrecondition,
    ended: true,
  })),
  ...["", "%%%", "AAAA", "CP8BEgE", Buffer.alloc(99, 0xff).toString("base64")].map((details) => ({
    what: `the grpc-status-details-bin "${details.slice(0, 9)}"`,
    answer: (s: number) => [
      responseHeaders(s),
      headers(
        s,
        [
          ["grpc-status", "9"],
          ["grpc-message", "this one"],
          ["grpc-status-details-bin", details],
        ],
        true,
      ),
    ],
    code: Code.FailedPrecondition,
    message: /^this one$/,
    ended: true,
  })),
  ...[
    [400, Code.Internal],
    [401, Code.Unauthenticated],
    [403, Code.PermissionDenied],
    [404, Code.Unimplemented],
    [429, Code.Unavailable],
    [502, Code.Unavailable],
    [503, Code.Unavailable],
    [504, Code.Unavailable],
    [302, Code.Unknown],
    [418, Code.Unknown],
    [500, Code.Unknown],
    [505, Code.Unknown],
    [800, Code.Unknown],
  ].map(([status, code]) => ({
    what: `the HTTP status ${status}`,
    answer: (s: number) => [
      headers(s, [
        [":status", String(status)],
        ["content-type", "text/html"],
      ]),
      data(s, Buffer.from("<h1>no</h1>"), true),
    ],
    code: code as Code,
    message: new RegExp(`${status}`),
    ended: true,
  })),
  {
    what: "the HTTP status 503 and no end",
    answer: (s) => [headers(s, [[":status", "503"]]), data(s, Buffer.from("<h1>no</h1>"))],
    code: Code.Unavailable,
  },
  {
    what: "the HTTP status 404 with a grpc-status",
    answer: (s) => [responseHeaders(s, { ":status": "404", "grpc-status": "7" }, true)],
    code: Code.PermissionDenied,
    ended: true,
  },
  ...["text/html", "application/json", "image/jpeg", ""].map((type) => ({
    what: `200 and the content-type "${type}"`,
    answer: (s: number) => [
      headers(s, [[":status", "200"], ...(type ? [["content-type", type] as const] : [])]),
      data(s, Buffer.from("<h1>hello</h1>")),
    ],
    code: Code.Unknown,
    message: /content-type/,
  })),
  ...["application/grpc+json", "application/grpc-web", "application/grpcish"].map((type) => ({
    what: `the content-type ${type}`,
    answer: (s: number) => [
      responseHeaders(s, { "content-type": type }),
      data(s, hello),
      trailers(s),
    ],
    code: internalOrUnknown,
    message: /content-type/,
    ended: true,
  })),
  ...[
    ["a length past the end of the message", [0x0a, 0x7f, 0x41]],
    ["a string of invalid UTF-8", [0x0a, 0x02, 0xc3, 0x28]],
    ["wire type 7", [0x0f, 0x01]],
    ["a tag that is cut off", [0x80]],
  ].map(([what, bytes]) => ({
    what: `malformed protobuf: ${what}`,
    answer: (s: number) => [
      responseHeaders(s),
      data(s, hello),
      data(s, envelope(Uint8Array.from(bytes as number[]))),
    ],
    code: Code.Internal,
    message: /MessageResponse could not be decoded/,
    replies: ["hello"],
  })),
  ...[0x02, 0x40, 0x80, 0x81].map((flags) => ({
    what: `the reserved flag bits 0x${flags.toString(16)}`,
    answer: (s: number) => [
      responseHeaders(s),
      data(s, hello),
      data(s, envelope(text("x"), flags)),
    ],
    code: Code.Internal,
    message: /reserved flag/,
    replies: ["hello"],
  })),
  ...[1, 4, 5, hello.length - 1].map((bytes) => ({
    what: `a message cut off after ${bytes} B, then the status OK`,
    answer: (s: number) => [responseHeaders(s), data(s, hello.subarray(0, bytes)), trailers(s)],
    code: Code.Internal,
    message: /cut off/,
    ended: true,
  })),
  {
    what: "a message cut off, then the end",
    answer: (s) => [responseHeaders(s), data(s, hello.subarray(0, 7), true)],
    code: internalOrUnknown,
    ended: true,
  },
  {
    what: "a message cut off, then an error",
    answer: (s) => [responseHeaders(s), data(s, hello.subarray(0, 7)), trailers(s, 5, "no such")],
    code: Code.NotFound,
    ended: true,
  },
  {
    what: "a length of 2^32-1",
    answer: (s) => [responseHeaders(s), data(s, Buffer.concat([Buffer.of(0), uint32(0xffffffff)]))],
    code: Code.ResourceExhausted,
    message: /4294967295 B is over readMaxBytes 4194304/,
  },
  {
    what: "a compressed message without grpc-encoding",
    answer: (s) => [responseHeaders(s), data(s, envelope(gzipSync(text("hello")), 1))],
    code: Code.Internal,
    message: /compressed/,
  },
  {
    what: "a compressed message in a call of identity",
    answer: (s) => [
      responseHeaders(s, { "grpc-encoding": "identity" }),
      data(s, envelope(gzipSync(text("hello")), 1)),
    ],
    code: Code.Internal,
    message: /compressed/,
  },
  {
    what: "a grpc-encoding that the client does not accept",
    answer: (s) => [
      responseHeaders(s, { "grpc-encoding": "snappy" }),
      data(s, envelope(text("hello"), 1)),
      trailers(s),
    ],
    code: Code.Internal,
    message: /snappy/,
    ended: true,
  },
  ...[
    Buffer.from("this is not gzip"),
    Buffer.alloc(8192, 1),
    gzipSync(text("x")).subarray(0, -9),
  ].map((payload) => ({
    what: `${payload.length} B of invalid gzip`,
    answer: (s: number) => [
      responseHeaders(s, { "grpc-encoding": "gzip" }),
      data(s, envelope(payload, 1)),
    ],
    code: Code.Internal,
    message: /gzip/,
  })),
  {
    what: "gzip that inflates to over readMaxBytes",
    answer: (s) => [
      responseHeaders(s, { "grpc-encoding": "gzip" }),
      data(s, envelope(gzipSync(Buffer.alloc(8 * 2 ** 20)), 1)),
    ],
    code: Code.ResourceExhausted,
    message: /over readMaxBytes 4194304/,
  },
];

for (const kind of ["unary", "chat"] as const) {
  for (const bad of badResponses) {
    it(`${bad.what} is an error of a ${kind} call`, async () => {
      await using world = await fakeServer(({ peer, stream }: FakeCall) =>
        peer.write(...bad.answer(stream)),
      );
      const { stillWorks } = await world.otherCall();
      const { replies, error } = await outcomeOf[kind](world);

      expect(error).toBeInstanceOf(ConnectError);
      expect([bad.code].flat(), `${error}`).toContain(error?.code);
      if (bad.message) expect(error?.rawMessage).toMatch(bad.message);
      if (kind === "chat") expect(replies).toEqual(bad.replies ?? []);
      // The stream is freed on the server too: what the server did not end, the client cancels.
      const [{ peer, stream }] = world.calls as [FakeCall];
      const { reset } = await peer.ended(stream);
      if (!bad.ended && kind === "chat") expect(reset).toBe(Http2Code.CANCEL);
      await stillWorks();
      await world.expectServed();
      await world.idle();
      expect(world.peers).toHaveLength(1);
    });
  }
}
