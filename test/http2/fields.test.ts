/** Which header fields HTTP/2 allows (RFC 9113, 8.2 and 8.3), received and sent. */
import { describe, expect, test } from "vitest";
import { InvalidFieldsError } from "../../src/http2/errors.ts";
import {
  contentLengthOf,
  findInvalid,
  joinCookies,
  REQUEST,
  RESPONSE,
  TRAILERS,
} from "../../src/http2/fields.ts";
import { FixedFields } from "../../src/http2/fixed-fields.ts";
import { rst, Type } from "../support/wire.ts";
import { Alone, headersOf, Pair, request, response } from "./support/pair.ts";

const without = (name: string) => {
  const fields = [...request()];
  fields.splice(fields.indexOf(name), 2);
  return fields;
};
const withValue = (name: string, value: string) => {
  const fields = [...request()];
  fields[fields.indexOf(name) + 1] = value;
  return fields;
};

const invalidRequests: readonly (readonly [string, readonly string[], RegExp])[] = [
  ["a name in upper case", request("X-Name", "1"), /"X-Name": names are in lower case/],
  ["an empty name", request("", "1"), /the name is empty/],
  ["a name with a space", request("a b", "1"), /"a b": the name contains the character 0x20/],
  ["a name with a colon", request("a:b", "1"), /the character 0x3a/],
  ["a name that is not ASCII", request("é", "1"), /the character 0xe9/],
  ["NUL in a value", request("x", "a\0b"), /"x": the value contains the character 0x00/],
  ["CR in a value", request("x", "a\rb"), /the character 0x0d/],
  ["LF in a value", request("x", "a\nb"), /the character 0x0a/],
  ["a space at the start of a value", request("x", " a"), /begins or ends with a space or a tab/],
  ["a tab at the end of a value", request("x", "a\t"), /begins or ends with a space or a tab/],
  ["connection", request("connection", "close"), /HTTP\/2 has no fields about a connection/],
  ["keep-alive", request("keep-alive", "1"), /no fields about a connection/],
  ["proxy-connection", request("proxy-connection", "1"), /no fields about a connection/],
  ["transfer-encoding", request("transfer-encoding", "gzip"), /no fields about a connection/],
  ["upgrade", request("upgrade", "h2c"), /no fields about a connection/],
  ["te: gzip", withValue("te", "gzip"), /its value may only be "trailers"/],
  ["a pseudo-header field at the end", [...without(":path"), ":path", "/"], /come first/],
  ["an unknown pseudo-header field", [":version", "2", ...request()], /not a pseudo-header field/],
  ["the status of a response", [":status", "200", ...request()], /field of requests/],
  ["a path twice", [":path", "/", ...request()], /":path": it is there twice/],
  ["no method", without(":method"), /":method" is missing/],
  ["no scheme", without(":scheme"), /":scheme" is missing/],
  ["no path", without(":path"), /":path" is missing/],
  ["an empty path", withValue(":path", ""), /":path" is empty/],
  ["an empty method", withValue(":method", ""), /":method" is empty/],
  ["another host than the authority", request("host", "there"), /:authority and host differ/],
  ["two hosts", request("host", "here", "host", "there"), /"host": it is there twice/],
];

describe.each(invalidRequests)("a request with %s", (_, fields, reason) => {
  test("cannot be sent", () => {
    const { client } = new Pair();
    expect(() => client.open(fields)).toThrow(InvalidFieldsError);
    expect(() => client.open(fields)).toThrow(reason);
    expect(client.connection.openStreams).toBe(0);
  });

  test("is reset, and the connection lives on", () => {
    const server = new Alone();
    const [reset] = server.receive(headersOf(1, fields));
    expect(reset).toMatchObject({ type: Type.RST_STREAM, stream: 1 });
    expect(reset?.payload.readUInt32BE()).toBe(1);
    server.receive(headersOf(3, request()));
    expect(server.requests).toHaveLength(1);
  });

  test("is reset also after a valid one that is much alike", () => {
    const server = new Alone();
    server.receive(headersOf(1, request("x", "1")));
    const [reset] = server.receive(headersOf(3, fields));
    expect(reset).toMatchObject({ type: Type.RST_STREAM, stream: 3 });
    expect(server.requests).toHaveLength(1);
  });
});

test("a value that is not a byte string cannot be sent", () => {
  expect(() => new Pair().client.open(request("x", "€"))).toThrow(/"x": .*0x20ac/);
});

test.each([
  ["a host equal to the authority", request("host", "HERE")],
  ["an empty value, a tab and high bytes within a value", request("x", "", "y", "a\tb\xff")],
  ["no authority", without(":authority")],
])("a request with %s is valid", (_, fields) => {
  expect(findInvalid(fields, REQUEST)).toBeUndefined();
});

test.each([
  ["no status", ["x", "1"], /":status" is missing/],
  ["a status that is no number", [":status", "ok"], /"ok" is not a status/],
  ["status 099", [":status", "099"], /"099" is not a status/],
  ["status 101", [":status", "101"], /HTTP\/2 has no status 101/],
  ["a path", [":status", "200", ":path", "/"], /not a pseudo-header field of responses/],
] as const)("a response with %s is invalid", (_, fields, reason) => {
  expect(findInvalid(fields, RESPONSE)).toMatch(reason);
  const client = new Alone({ role: "client" });
  const call = client.open();
  client.receive(headersOf(1, fields));
  expect(call.end).toMatchObject({ by: "invalid", code: 1 });
  expect(call.end?.reason).toMatch(reason);
});

test("trailers have no pseudo-header fields", () => {
  expect(findInvalid(response(), TRAILERS)).toMatch(
    /":status": not a pseudo-header field of trailers/,
  );
});

test("a request block that is repeated as trailers resets the stream", () => {
  const server = new Alone();
  const block = headersOf(1, [":method", "GET", ":scheme", "http", ":path", "/"]);
  server.receive(block);
  block[4] = 5;
  server.receive(block);
  expect(server.streams[0]?.end).toMatchObject({ by: "invalid", code: 1 });
});

test("invalid response headers and trailers throw, and the stream can still be used", () => {
  const pair = new Pair();
  const call = pair.client.open();
  pair.move();
  const stream = pair.server.streams[0]?.stream;
  expect(() => stream?.sendHeaders([":status", "200", "connection", "close"])).toThrow(
    InvalidFieldsError,
  );
  stream?.sendHeaders(response());
  expect(() => stream?.end(["Grpc-Status", "0"])).toThrow(InvalidFieldsError);
  expect(stream?.isLocalEnded).toBe(false);
  stream?.end(["grpc-status", "0"]);
  pair.move();
  expect(call.trailers).toEqual(["grpc-status", "0"]);
});

test("cookies that came as several fields are one", () => {
  const fields = request("cookie", "a=1", "x", "2", "cookie", "b=2", "cookie", "c=3");
  const joined = request("cookie", "a=1; b=2; c=3", "x", "2");
  expect(joinCookies(fields)).toEqual(joined);
  const server = new Alone();
  server.receive(headersOf(1, fields));
  expect(server.requests[0]?.fields).toEqual(joined);
  const one = request("cookie", "a=1");
  expect(joinCookies(one)).toBe(one);
});

describe("fixed fields", () => {
  test("are checked when they are made, and those that follow them when they are sent", () => {
    expect(() => FixedFields.ofRequest(without(":path"))).toThrow(InvalidFieldsError);
    expect(() => FixedFields.ofTrailers(["Grpc-Status", "0"])).toThrow(/lower case/);
    const { client } = new Pair();
    const fixed = FixedFields.ofRequest(request());
    const open = (more: string[]) => client.open({ fixed, more });
    expect(() => open([":path", "/b"])).toThrow(/not a pseudo-header field of trailers/);
    expect(() => open(["x-a", "\n"])).toThrow(InvalidFieldsError);
    expect(() => client.open(FixedFields.ofResponse(response()))).toThrow(/of requests/);
    expect(client.connection.openStreams).toBe(0);
  });

  test("arrive as any others do, with those that follow them", () => {
    const pair = new Pair();
    const { client, server } = pair;
    const fixed = FixedFields.ofRequest(request());
    for (const ms of ["1m", "2m", "3m"]) client.open({ fixed, more: ["grpc-timeout", ms] });
    client.open(fixed);
    pair.move();
    expect(server.requests.map(({ fields }) => fields)).toEqual([
      ...["1m", "2m", "3m"].map((ms) => [...request(), "grpc-timeout", ms]),
      request(),
    ]);
  });
});

test("CONNECT is answered 501, and cannot be sent", () => {
  const connect = [":method", "CONNECT", ":authority", "there:443"];
  const server = new Alone();
  const [answer, reset] = server.receive(headersOf(1, connect));
  expect(answer).toMatchObject({ type: Type.HEADERS, stream: 1, flags: 5 });
  expect(reset).toMatchObject({ type: Type.RST_STREAM });
  expect(server.requests).toEqual([]);
  server.receive(headersOf(3, [":path", "/", ...connect]), rst(1, 8));
  expect(server.connection.isClosed).toBe(false);
  expect(() => new Pair().client.open(connect)).toThrow(/CONNECT is not supported/);
});

test.each([
  [["x", "1"], -1],
  [["content-length", "0"], 0],
  [["content-length", "17", "content-length", "17"], 17],
  [["content-length", "17", "content-length", "18"], undefined],
  [["content-length", "1e3"], undefined],
  [["content-length", "-1"], undefined],
  [["content-length", ""], undefined],
])("the content-length of %j is %j", (fields, length) => {
  expect(contentLengthOf(fields)).toBe(length);
});
