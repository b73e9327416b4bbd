/** Options of transports, servers, hubs and logs: each that is unknown, or has a wrong value, is refused by name. */
import { describe, expect, expectTypeOf, test } from "vitest";
import { Greeter, MessageRequestSchema } from "../gen/example/greeter_pb.js";
import {
  ConnectError,
  createClient,
  createTransport,
  type Transport,
  type TransportOptions,
} from "../src/index.ts";
import { withDefaults } from "../src/node/server-options.ts";
import { type Checks, suggestion, trueOrFalse } from "../src/options.ts";
import { createServer, encodedOnce, holdHeaders, later, sendHeaders } from "../src/server.ts";
import { jetStreamLog } from "../src/topics/jetstream/jetstream.ts";
import { sqliteLog } from "../src/topics/sqlite/sqlite.ts";
import { createHub, memoryLog } from "../src/topics.ts";
import { refusalOf, routesOf, wrongly } from "./support/refusal.ts";

const baseUrl = "http://127.0.0.1:1";
const transportWith = (options: object) => createTransport(wrongly({ baseUrl, ...options }));
const serverWith = (options: object) => createServer(wrongly({ routes() {}, ...options }));
const hubWith = (options: object) => createHub(memoryLog(), wrongly<object>(options));
const signal = new AbortController().signal;
const unused: Transport = { unary: () => Promise.reject(), stream: () => Promise.reject() };

describe("an option that is unknown is refused by name, with the nearest one", () => {
  test.each<[string, () => unknown]>([
    [
      "createTransport has no option `baseURL`: did you mean `baseUrl`?",
      () => transportWith({ baseURL: "" }),
    ],
    [
      "createTransport has no option `url`: did you mean `baseUrl`?",
      () => transportWith({ url: "" }),
    ],
    [
      "createTransport: keepalive has no option `interval`: did you mean `intervalMs`?",
      () => transportWith({ keepalive: { interval: 1 } }),
    ],
    [
      "createTransport: sessions has no option `windowByte`: did you mean `windowBytes`?",
      () => transportWith({ sessions: { windowByte: 1 } }),
    ],
    [
      "createTransport: tls has no option `servername`: did you mean `serverName`?",
      () => transportWith({ tls: { servername: "" } }),
    ],
    ["createServer has no option `port`: there is routes, ", () => serverWith({ port: 1 })],
    [
      "createServer: sessions has no option `grace`: did you mean `graceMs`?",
      () => serverWith({ sessions: { grace: 1 } }),
    ],
    [
      "createServer: tls has no option `pem`: there is cert, key, ca, requestClientCertificate",
      () => serverWith({ tls: { pem: "" } }),
    ],
    [
      "listen has no option `hostname`: did you mean `host`?",
      () => serverWith({}).listen(wrongly({ hostname: "" })),
    ],
    [
      "close has no option `grace`: did you mean `graceMs`?",
      () => serverWith({}).close(wrongly({ grace: 1 })),
    ],
    ["createHub has no option `linger`: did you mean `lingerMs`?", () => hubWith({ linger: 1 })],
    [
      "subscribe has no option `from`: there is after, start, ready, shape, onEnd",
      () => hubWith({}).subscribe("t", wrongly<object>({ from: "" }), signal),
    ],
    [
      "announce has no option `fleet`: did you mean `fleeting`?",
      () => hubWith({}).announce("t", wrongly<never>(1), wrongly({ fleet: true })),
    ],
    [
      "memoryLog has no option `records`: there is retention, maxBytes, epoch",
      () => memoryLog(wrongly({ records: 1 })),
    ],
    [
      "memoryLog: retention has no option `age`: did you mean `ageMs`?",
      () => memoryLog(wrongly({ retention: { age: 1 } })),
    ],
    [
      "sqliteLog has no option `file`: there is path, retention",
      () => sqliteLog(wrongly({ path: "x", file: "" })),
    ],
    [
      "jetStreamLog has no option `server`: did you mean `servers`?",
      () => jetStreamLog(wrongly({ servers: "h", server: "" })),
    ],
    [
      "page has no option `record`: did you mean `records`?",
      () => memoryLog().page("t", undefined, wrongly({ record: 1 })),
    ],
    [
      "router.service(example.Greeter) has no option `interceptor`: did you mean `interceptors`?",
      () => routesOf((router) => router.service(Greeter, {}, wrongly({ interceptor: [] }))),
    ],
    [
      "example.Greeter.SayHello has no option `timeout`: did you mean `timeoutMs`?",
      () => createClient(Greeter, unused).sayHello({}, wrongly({ timeout: 1 })),
    ],
  ])("%s", async (text, run) => {
    expect(await refusalOf(run)).toContain(text);
  });

  test("an error suggests the nearest name, and lists all names where none is near", () => {
    expect(suggestion("zzz", ["host", "port"])).toBe("there is host, port");
    expect(suggestion("SAYHELO", ["chat", "sayHello"])).toBe("did you mean `sayHello`?");
    expect(suggestion("x", [])).toBe("there is none");
  });
});

describe("a value that an option does not take is shown with quotes and its type", () => {
  test.each<[string, () => unknown]>([
    [
      'listen: port is "0" (a string): a whole number from 0 to 65535 is needed; use Number(process.env.PORT)',
      () => serverWith({}).listen(wrongly({ port: "0" })),
    ],
    [
      "listen: port is 65536: a whole number from 0 to 65535 is needed",
      () => serverWith({}).listen({ port: 65_536 }),
    ],
    ["listen: port is NaN: a whole number", () => serverWith({}).listen({ port: Number("x") })],
    [
      "listen: path is for a Unix socket, and port for TCP: give one of them",
      () => serverWith({}).listen(wrongly({ path: "/x", port: 1 })),
    ],
    [
      'listen: host is "" (a string): a string that is not empty is needed',
      () => serverWith({}).listen({ host: "" }),
    ],
    ["close: graceMs is NaN: a number of 0 or more", () => serverWith({}).close({ graceMs: NaN })],
    ["close: graceMs is -1: a number of 0 or more", () => serverWith({}).close({ graceMs: -1 })],
    [
      "createTransport: options is missing: an object is needed",
      () => createTransport(wrongly(undefined)),
    ],
    ["createTransport: baseUrl is missing: a string is needed", () => createTransport(wrongly({}))],
    [
      "createTransport: baseUrl is null: a string is needed",
      () => transportWith({ baseUrl: null }),
    ],
    [
      "createTransport: baseUrl is an object: a string",
      () => transportWith({ baseUrl: new URL("http://h") }),
    ],
    ["createTransport: baseUrl is 5: http://host:port", () => transportWith({ baseUrl: [5] })],
    [
      "createTransport: timeoutMs is NaN: a number of milliseconds is needed",
      () => transportWith({ timeoutMs: NaN }),
    ],
    [
      'createTransport: timeoutMs is "500" (a string): a number of milliseconds is needed; use Number(process.env.TIMEOUT_MS)',
      () => transportWith({ timeoutMs: "500" }),
    ],
    [
      "createTransport: connectTimeoutMs is 0: a number above 0",
      () => transportWith({ connectTimeoutMs: 0 }),
    ],
    [
      "createTransport: readMaxBytes is Infinity: a number above 0",
      () => transportWith({ readMaxBytes: Infinity }),
    ],
    [
      "createTransport: writeMaxBytes is 5n (a bigint): a number above 0",
      () => transportWith({ writeMaxBytes: 5n }),
    ],
    [
      "createTransport: compressMinBytes is -1: a number of 0 or more",
      () => transportWith({ compressMinBytes: -1 }),
    ],
    [
      'createTransport: sendCompression is "br" (a string): "gzip" or "identity" is needed',
      () => transportWith({ sendCompression: "br" }),
    ],
    [
      'createTransport: acceptCompression is "no" (a string): true or false',
      () => transportWith({ acceptCompression: "no" }),
    ],
    [
      "createTransport: interceptors is a function: an array",
      () => transportWith({ interceptors() {} }),
    ],
    [
      "createTransport: interceptors[1] is an object: a function",
      () => transportWith({ interceptors: [() => {}, {}] }),
    ],
    [
      "createTransport: keepalive is true (a boolean): an object",
      () => transportWith({ keepalive: true }),
    ],
    [
      "createTransport: keepalive.timeoutMs is 0: a number above 0, or Infinity,",
      () => transportWith({ keepalive: { timeoutMs: 0 } }),
    ],
    [
      "createTransport: sessions.windowMessages is 0.5: a whole number from 1",
      () => transportWith({ sessions: { windowMessages: 0.5 } }),
    ],
    [
      "createTransport: logger is an object: an object with the function warn",
      () => transportWith({ logger: {} }),
    ],
    ["createServer: options is missing: an object", () => createServer(wrongly(undefined))],
    ["createServer: routes is missing: a function", () => createServer(wrongly({}))],
    ["createServer: routes is an object: a function", () => serverWith({ routes: {} })],
    [
      "createServer: logger is null: an object with the function error",
      () => serverWith({ logger: null }),
    ],
    [
      "createServer: maxConcurrentStreams is 1.5: a whole number from 1",
      () => serverWith({ maxConcurrentStreams: 1.5 }),
    ],
    [
      "createServer: maxTimeoutMs is NaN: a number above 0",
      () => serverWith({ maxTimeoutMs: NaN }),
    ],
    [
      "createServer: prefaceTimeoutMs is -5: a number above 0",
      () => serverWith({ prefaceTimeoutMs: -5 }),
    ],
    [
      "createServer: http1.bodyIdleMs is 0: a number above 0, or Infinity,",
      () => serverWith({ http1: { bodyIdleMs: 0 } }),
    ],
    [
      "createServer: maxConnections is Infinity: a whole number from 1",
      () => serverWith({ maxConnections: Infinity }),
    ],
    [
      "createServer: connectionIdleMs is 0: a number above 0, or Infinity,",
      () => serverWith({ connectionIdleMs: 0 }),
    ],
    [
      "createServer: connectionAgeMs is -1: a number above 0, or Infinity,",
      () => serverWith({ connectionAgeMs: -1 }),
    ],
    [
      "createServer: connectionAgeGraceMs is NaN: a number of 0 or more, or Infinity,",
      () => serverWith({ connectionAgeGraceMs: NaN }),
    ],
    [
      "createServer: connectionBudgetBytes is 0: a number above 0",
      () => serverWith({ connectionBudgetBytes: 0 }),
    ],
    [
      "createServer: serverBudgetBytes is Infinity: a number above 0",
      () => serverWith({ serverBudgetBytes: Infinity }),
    ],
    [
      'createServer: abuse is "hard" (a string): "strict", "lenient" or { budget } is needed',
      () => serverWith({ abuse: "hard" }),
    ],
    [
      "createServer: abuse.budget is missing: a whole number from 1",
      () => serverWith({ abuse: {} }),
    ],
    [
      "createServer: minPingIntervalMs is -1: a number of 0 or more",
      () => serverWith({ minPingIntervalMs: -1 }),
    ],
    ["createServer: sessions is true (a boolean): an object", () => serverWith({ sessions: true })],
    ["createServer: authenticate is an object: a function", () => serverWith({ authenticate: {} })],
    [
      "createServer: sessions.graceMs is 0.5: a whole number",
      () => serverWith({ sessions: { graceMs: 0.5 } }),
    ],
    ["createHub: log is an object: a log", () => createHub(wrongly({}))],
    [
      'createHub: records is "5" (a string): a number above 0, or Infinity, is needed; use Number(process.env.RECORDS)',
      () => hubWith({ records: "5" }),
    ],
    ["createHub: make is null: a function", () => hubWith({ make: null })],
    [
      'subscribe: start is "new" (a string): "now" or "oldest"',
      () => hubWith({}).subscribe("t", wrongly<object>({ start: "new" }), signal),
    ],
    [
      "subscribe: signal is missing: an AbortSignal",
      () => hubWith({}).subscribe("t", {}, wrongly(undefined)),
    ],
    [
      "the name of the topic is 5: a string is needed",
      () => hubWith({}).subscribe(wrongly(5), {}, signal),
    ],
    ['memoryLog: epoch is "x" (a string): 16 hexadecimal digits', () => memoryLog({ epoch: "x" })],
    [
      "memoryLog: retention.records is 0: a number above 0, or Infinity,",
      () => memoryLog({ retention: { records: 0 } }),
    ],
    [
      "append: records is an object: an array",
      () => memoryLog().append("t", wrongly({ data: new Uint8Array() })),
    ],
    [
      'record 1 of the append cannot be stored: data is "x" (a string), and must be a Uint8Array',
      () => memoryLog().append("t", [wrongly({ data: "x" })]),
    ],
    [
      "record 1 of the append cannot be stored: it is null",
      () => memoryLog().append("t", [wrongly(null)]),
    ],
    ["the name of the topic is undefined", () => memoryLog().append(wrongly(undefined), [])],
    ["the cursor is 5: a string is needed", () => memoryLog().page("t", wrongly(5))],
    [
      "page: bytes is NaN: a number of 0 or more",
      () => memoryLog().page("t", undefined, { bytes: NaN }),
    ],
    ["topics: prefix is 5: a string", () => memoryLog().topics(wrongly(5))],
    ["sqliteLog: path is missing: a string", () => sqliteLog(wrongly({}))],
    ["sqliteLog: options is missing: an object", () => sqliteLog(wrongly(undefined))],
    ["jetStreamLog: servers is missing: an array", () => jetStreamLog(wrongly({}))],
    [
      "jetStreamLog: replicas is 7: a whole number from 1 to 5",
      () => jetStreamLog({ servers: "h", replicas: 7 }),
    ],
    [
      "jetStreamLog: JetStream cannot limit the bytes of a topic",
      () => jetStreamLog(wrongly({ servers: "h", retention: { bytes: 1 } })),
    ],
    [
      "encodedOnce: schema is missing: a schema",
      () => encodedOnce(wrongly<typeof MessageRequestSchema>(undefined), {}),
    ],
    [
      'the string "x" is not a example.MessageRequest',
      () => encodedOnce(MessageRequestSchema, wrongly("x")),
    ],
    ["later: open is an object: a function", () => later(wrongly({}))],
    ["sendHeaders: context is missing: an object", () => sendHeaders(wrongly(undefined))],
    ["holdHeaders: context is missing: an object", () => holdHeaders(wrongly(undefined))],
  ])("%s", async (text, run) => {
    expect(await refusalOf(run)).toContain(text);
  });

  test("a long string is cut, and a key is not shown", async () => {
    expect(await refusalOf(() => transportWith({ baseUrl: "x".repeat(1000) }))).toMatch(
      /^.{0,200}$/,
    );
    const tls = { cert: "secret-cert", key: "secret-key" };
    expect(await refusalOf(() => serverWith({ tls }))).not.toContain("secret");
  });
});

test("an option that is `undefined` counts as not given", async () => {
  const nothing = {
    timeoutMs: undefined,
    tls: undefined,
    keepalive: undefined,
    sessions: undefined,
  };
  await using transport = transportWith(nothing);
  await using server = serverWith({ tls: undefined, sessions: undefined, logger: undefined });
  await using hub = hubWith({ records: undefined, lingerMs: undefined });
  await hub[Symbol.asyncDispose]();
  expect([transport, server]).toHaveLength(2);
});

test("options of sessions that are inherited count as given", () => {
  const sessions = Object.create({ graceMs: 200 });
  expect(withDefaults({ routes() {}, sessions }).sessions).toMatchObject({ graceMs: 200 });
});

test("a list of checks names every option of its interface, and no other", () => {
  expectTypeOf<keyof Checks<TransportOptions>>().toEqualTypeOf<keyof TransportOptions>();
  // @ts-expect-error one is missing
  const incomplete: Checks<{ a?: number; b: string }> = { a: trueOrFalse };
  // @ts-expect-error one is too many
  const excessive: Checks<{ a?: number }> = { a: trueOrFalse, b: trueOrFalse };
  expect([incomplete, excessive]).toHaveLength(2);
});

test("an option is refused with a ConnectError", () => {
  expect(() => transportWith({ baseUrl: undefined })).toThrow(ConnectError);
});
