import { create, toBinary } from "@bufbuild/protobuf";
import { AnySchema } from "@bufbuild/protobuf/wkt";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MessageRequestSchema } from "../gen/example/greeter_pb.js";
import { fieldBytes, headerListBytes, trailersLimit } from "../src/grpc/header-limits.ts";
import { fitTrailers, readStatus } from "../src/grpc/status.ts";
import { Code, ConnectError } from "../src/index.ts";

const LIMIT = 8000;

const room = { limitBytes: LIMIT, usedBytes: 0 };

function withDetails(message: string, detailBytes: number, metadata?: HeadersInit): ConnectError {
  const error = new ConnectError(message, Code.NotFound, metadata);
  error.details.push({ desc: MessageRequestSchema, value: { content: "d".repeat(detailBytes) } });
  return error;
}

/** The error that a client reads from trailers. */
function read(fields: ReturnType<typeof fitTrailers>["fields"]): ConnectError {
  const texts = Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, `${value}`]),
  );
  const status = readStatus(texts);
  if (!(status instanceof ConnectError)) throw new Error(`the status is ${status}`);
  return status;
}

test("a field counts the bytes of its name and of its value, and 32 more (RFC 7541, 4.1)", () => {
  expect(fieldBytes("grpc-status", "0")).toBe(11 + 1 + 32);
  const list = { ":status": 200, "set-cookie": ["a", "bc"], none: undefined };
  expect(headerListBytes(list)).toBe(7 + 3 + 32 + (10 + 1 + 32) + (10 + 2 + 32));
});

test.each([
  ["that announces nothing", Number.POSITIVE_INFINITY, 8000],
  ["that announces 8 KiB", 8192, 8000],
  ["that announces 4 KiB", 4096, 4096],
  ["that announces 16 KiB, as grpc-python", 16_384, 8000],
  ["that announces less than 32 KiB", 32_767, 8000],
  ["that announces 32 KiB", 32_768, 32_768],
  ["that announces 64 KiB, as Hawser's", 65_536, 65_536],
  ["that announces 1 MiB", 1_048_576, 65_536],
])("the limit of trailers to a client %s", (_, announced, limit) => {
  expect(trailersLimit(announced)).toBe(limit);
});

describe("trailers", () => {
  test("trailers that fit are sent unchanged", () => {
    const { fields, fault } = fitTrailers(
      withDetails("no such room", 100, { "x-of-the-error": "1" }),
      new Headers({ "x-of-the-call": "2" }),
      room,
    );
    expect(fault).toBeUndefined();
    expect(fields).toMatchObject({ "grpc-message": "no such room", "x-of-the-error": "1" });
    expect(fields).toMatchObject({ "x-of-the-call": "2" });
    expect(read(fields).findDetails(MessageRequestSchema)).toHaveLength(1);
  });

  test("leave without details that do not fit, and the message says so", () => {
    const { fields, fault } = fitTrailers(withDetails("no such room", 7000), undefined, room);
    expect(fault).toBeUndefined();
    const error = read(fields);
    expect(error.code).toBe(Code.NotFound);
    expect(error.rawMessage).toMatch(
      /^no such room \(details of 9\d{3} B left out: trailers are limited to 8000 B\)$/,
    );
    expect(error.details).toEqual([]);
  });

  test("keep details and metadata to the byte that fits, and no further", () => {
    const sizeAt = (detailBytes: number) =>
      headerListBytes(fitTrailers(withDetails("", detailBytes), undefined, room).fields);
    const kept = Array.from({ length: 3000 }, (_, at) => 4000 + at).filter(
      (detailBytes) => sizeAt(detailBytes) > 1000,
    );
    const most = Math.max(...kept.map(sizeAt));
    // Base64 grows by one or two characters a byte.
    expect(most).toBeGreaterThan(LIMIT - 4);
    expect(most).toBeLessThan(LIMIT);
  });

  test("shorten a message of 100 KB, say how long it was, and cut no character in two", () => {
    for (const character of ["a", "%", "é", "語", "😀"]) {
      const message = character.repeat(100_000);
      const { fields } = fitTrailers(new ConnectError(message, Code.Aborted), undefined, room);
      const size = headerListBytes(fields);
      expect(size).toBeLessThan(LIMIT);
      expect(size).toBeGreaterThan(LIMIT - 15);
      const [, kept, length] = /^(.*) \.\.\. \(cut; (\d+) characters\)$/.exec(
        read(fields).rawMessage,
      ) as unknown as string[];
      expect(Number(length)).toBe(message.length);
      expect(message.startsWith(kept as string)).toBe(true);
    }
  });

  test("trailers say that the details are left out, even if the message is cut", () => {
    const { fields } = fitTrailers(withDetails("m".repeat(9000), 10), undefined, room);
    expect(read(fields).rawMessage).toMatch(
      /^m+ \.\.\. \(cut; 9000 characters\) \(details of \d+ B left out: trailers are limited to 8000 B\)$/,
    );
  });

  test("trailers of a handler that do not fit turn the status into RESOURCE_EXHAUSTED, even if the call succeeded", () => {
    const trailers = new Headers({ "x-large": "t".repeat(9000), "x-small": "1" });
    for (const error of [undefined, new ConnectError("no such room", Code.NotFound)]) {
      const { fields, fault } = fitTrailers(error, trailers, room);
      expect(fault).toMatchObject({ code: Code.ResourceExhausted, cause: error });
      expect(Object.keys(fields)).toEqual(["grpc-status", "grpc-message"]);
      expect(read(fields).message).toMatch(
        /^\[resource_exhausted\] the handler's trailers are 9079 B .* limited to 8000 B: send less/,
      );
      if (error !== undefined) expect(read(fields).message).toContain("[not_found] no such room");
    }
  });

  test("trailers of a handler that fit are sent, and a long message is shortened for them", () => {
    const trailers = new Headers({ "x-large": "t".repeat(7000) });
    const { fields, fault } = fitTrailers(new ConnectError("m".repeat(2000)), trailers, room);
    expect(fault).toBeUndefined();
    expect(fields["x-large"]).toHaveLength(7000);
    expect(String(fields["grpc-message"]).length).toBeGreaterThan(700);
  });

  test("count the other fields of their block", () => {
    const trailers = new Headers({ "x-large": "t".repeat(7500) });
    expect(fitTrailers(undefined, trailers, room).fault).toBeUndefined();
    const beside = { limitBytes: LIMIT, usedBytes: 500 };
    expect(fitTrailers(undefined, trailers, beside).fault?.code).toBe(Code.ResourceExhausted);
  });

  test.each([
    ["a value that is not ASCII", new Headers({ "x-odd": "caf\u00e9" }), '"x-odd"'],
    ["a name that HTTP allows and gRPC does not", new Headers({ "x!odd": "1" }), '"x!odd"'],
    ["binary that is not base64", new Headers({ "x-odd-bin": "%%%" }), '"x-odd-bin"'],
    ["a header that HTTP/2 reserves", new Headers({ connection: "close" }), '"connection"'],
    ["a status of their own", new Headers({ "grpc-status": "0" }), '"grpc-status"'],
    ["a session's count", new Headers({ "hawser-sent": "0" }), '"hawser-sent"'],
  ])("trailers with %s turn the status into INTERNAL that names it", (_, trailers, name) => {
    for (const error of [undefined, new ConnectError("no such room", Code.NotFound)]) {
      const { fields, fault } = fitTrailers(error, trailers, room);
      expect(fault?.code).toBe(Code.Internal);
      expect(Object.keys(fields)).toEqual(["grpc-status", "grpc-message"]);
      expect(read(fields).message).toContain(name);
      expect(read(fields).message).not.toContain("%%%");
    }
  });

  test("trailers may say when to try again", () => {
    const error = new ConnectError("later", Code.Unavailable, { "grpc-retry-pushback-ms": "7" });
    const { fields, fault } = fitTrailers(error, undefined, room);
    expect([fields["grpc-retry-pushback-ms"], fault]).toEqual(["7", undefined]);
  });

  test("trailers of any error stay below any limit, down to only the status code", () => {
    const unit = fc.constantFrom("a", " ", "%", "\n", "\u007f", "é", "語", "😀", "\ud83d");
    const text = fc.string({ unit, maxLength: 600 });
    const values = fc.string({ unit: fc.constantFrom("a", " ", "~", "0"), maxLength: 300 });
    const metadata = fc.dictionary(fc.constantFrom("x-a", "x-b", "x-c"), values);
    fc.assert(
      fc.property(
        text,
        fc.nat(600),
        metadata,
        metadata,
        fc.integer({ min: 60, max: 2000 }),
        fc.nat(100),
        (message, detailBytes, ofError, ofCall, limitBytes, usedBytes) => {
          const error = new ConnectError(message, Code.Aborted, ofError);
          const value = toBinary(
            AnySchema,
            create(AnySchema, { value: new Uint8Array(detailBytes) }),
          );
          if (detailBytes > 0) error.details.push({ type: "google.protobuf.Any", value });
          const { fields, fault } = fitTrailers(error, new Headers(ofCall), {
            limitBytes,
            usedBytes,
          });
          const alone = fieldBytes("grpc-status", "10") + fieldBytes("grpc-message", "");
          expect(usedBytes + headerListBytes(fields)).toBeLessThan(
            Math.max(limitBytes, usedBytes + alone + 1),
          );
          // Nothing is lost in silence.
          const got = read(fields);
          expect(got.code).toBe(fault === undefined ? Code.Aborted : Code.ResourceExhausted);
          if (fault !== undefined || fields["grpc-message"] === "") return;
          if (detailBytes > 0 && got.details.length === 0)
            expect(got.message).toContain("left out");
          for (const name of Object.keys({ ...ofError, ...ofCall }))
            expect(fields).toHaveProperty(name);
        },
      ),
      { numRuns: 200 },
    );
  });
});
