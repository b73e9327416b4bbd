/** Credentials that expire while a session runs (session.proto, 10). */
import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { MetadataSchema } from "../gen/hawser/v1/session_pb.js";
import type { HeaderList } from "../src/call-stream.ts";
import { Code, ConnectError } from "../src/index.ts";
import type { Authenticate } from "../src/server.ts";
import { CredentialRenewal } from "../src/session/credential-renewal.ts";
import { type Credentials, CredentialWatch } from "../src/session/credential-watch.ts";
import { Reason } from "../src/session/lost.ts";
import { aborted, gate, until } from "./support/gate.ts";
import { all, failureOf, next } from "./support/read.ts";
import { control, newId, sessionPeer } from "./support/session-peer.ts";
import { FakeTime } from "./support/session-sim-clock.ts";
import { lossOf } from "./support/session-world.ts";
import { start } from "./support/world.ts";

/** A server whose tokens "name number" are valid for some time, and once. */
async function expiring(validMs: number, judge: (token: string) => void = () => {}) {
  const tokens: string[] = [];
  const signals: AbortSignal[] = [];
  const authenticate: Authenticate = async ({ header }) => {
    const token = header.get("authorization") ?? "nobody 0";
    judge(token);
    tokens.push(token);
    const [identity = ""] = token.split(" ");
    return { identity, expiresAt: new Date(Date.now() + validMs) };
  };
  const world = await start({
    linked: true,
    server: { authenticate },
    transport: { sessions: true },
    greeter: {
      async *chat(requests, { signal }) {
        signals.push(signal);
        for await (const { content } of requests) yield { reply: content };
      },
    },
  });
  return { world, tokens, signals };
}

/** A function for the option `headers`, which returns a new token each time. */
function numbered(name = "ada") {
  let count = 0;
  return async () => ({ authorization: `${name} ${++count}` });
}

test("a client with a function for its headers renews its credentials, and the call does not notice", async () => {
  const { world, tokens } = await expiring(500);
  await using _world = world;
  const chat = world.greeter.chat({ headers: numbered() });
  const states: string[] = [];
  using _listening = chat.onState((state) => states.push(state));
  for (let sent = 0; tokens.length < 8; sent++) {
    await chat.send({ content: `${sent}` });
    expect(await next(chat)).toMatchObject({ reply: `${sent}` });
  }
  expect(tokens).toEqual(Array.from({ length: 8 }, (_, n) => `ada ${n + 1}`));
  expect(states).toEqual(["open"]);
  chat.closeSend();
  await all(chat);
});

test("a client with fixed headers gets UNAUTHENTICATED, and its handler is told, when they expire", async () => {
  const { world, signals } = await expiring(150);
  await using _world = world;
  const chat = world.greeter.chat({ headers: { authorization: "ada 1" } });
  await chat.send({ content: "one" });
  await next(chat);
  const error = await failureOf(chat);
  expect(error).toMatchObject({ code: Code.Unauthenticated });
  expect(error.rawMessage).toContain("credentials have expired");
  await aborted(signals[0] as AbortSignal);
});

test("a session that is without a connection when its credentials expire continues with new ones", async () => {
  const { world, tokens } = await expiring(150);
  await using _world = world;
  const chat = world.greeter.chat({ headers: numbered() });
  await chat.send({ content: "one" });
  await next(chat);
  const refused = world.link.refuse();
  await world.link.cut();
  await chat.send({ content: "two" });
  // Longer than the credentials are valid.
  await new Promise((resolve) => setTimeout(resolve, 300));
  refused[Symbol.dispose]();
  expect(await next(chat)).toMatchObject({ reply: "two" });
  expect(tokens.length).toBeGreaterThan(1);
  chat.closeSend();
  await all(chat);
});

test("new credentials that are refused end the stream with the refusal", async () => {
  const refusal = new ConnectError("the token was revoked", Code.PermissionDenied);
  const { world } = await expiring(500, (token) => {
    if (token === "ada 2") throw refusal;
  });
  await using _world = world;
  const chat = world.greeter.chat({ headers: numbered() });
  await chat.send({ content: "one" });
  expect(await failureOf(chat)).toMatchObject({
    ...{ code: Code.PermissionDenied, rawMessage: "the token was revoked" },
  });
});

test("new credentials of another caller are refused with NOT_YOURS", async () => {
  const { world } = await expiring(500);
  await using _world = world;
  let asked = 0;
  const headers = async () => ({ authorization: asked++ === 0 ? "ada 1" : "eve 2" });
  const chat = world.greeter.chat({ headers });
  await chat.send({ content: "one" });
  expect(await lossOf(chat)).toMatchObject({ reason: Reason.NOT_YOURS });
});

test("a client asks again for headers that it could not have", async () => {
  const { world, tokens } = await expiring(1000);
  await using _world = world;
  let asked = 0;
  const headers = async () => {
    if (++asked === 2) throw new Error("the tokens' server does not answer");
    return { authorization: `ada ${asked}` };
  };
  const chat = world.greeter.chat({ headers });
  await chat.send({ content: "one" });
  await next(chat);
  await until("the credentials are renewed", () => tokens.length >= 2);
  expect(tokens.slice(0, 2)).toEqual(["ada 1", "ada 3"]);
  await chat.send({ content: "two" });
  expect(await next(chat)).toMatchObject({ reply: "two" });
  chat.closeSend();
  await all(chat);
});

describe("a client that writes bytes", () => {
  const renewal = (name: string, value: string) =>
    control({
      case: "renewal",
      value: create(MetadataSchema, { entries: [{ name, value }] }),
    });

  test("is told how long its credentials are valid, also after it has renewed them", async () => {
    const { world } = await expiring(60_000);
    await using _world = world;
    await using peer = await sessionPeer(Number(new URL(world.url).port));
    const chat = peer.attach(newId(), { headers: { authorization: "ada 1" } });
    const expiries = () => chat.controls.filter((kind) => kind.case === "expires");
    await chat.peer.until(() => expiries().length === 1);
    chat.send(renewal("authorization", "ada 2"));
    await chat.peer.until(() => expiries().length === 2);
    for (const { value } of expiries()) {
      expect(Number(value)).toBeGreaterThan(50_000);
      expect(Number(value)).toBeLessThanOrEqual(60_000);
    }
  });

  test.each([
    ["headers that are none", renewal("Not A Name", "x")],
    ["a Control of the server", control({ case: "expires", value: 5n })],
  ])("%s break the protocol", async (_, frame) => {
    const { world } = await expiring(60_000);
    await using _world = world;
    await using peer = await sessionPeer(Number(new URL(world.url).port));
    const chat = peer.attach(newId(), { headers: { authorization: "ada 1" } });
    await chat.answer();
    chat.send(frame);
    expect((await chat.ended()).lost).toMatchObject({ reason: Reason.PROTOCOL_ERROR });
  });

  test("must not renew credentials that do not expire", async () => {
    await using world = await start();
    await using peer = await sessionPeer(Number(new URL(world.url).port));
    const chat = peer.attach(newId());
    await chat.answer();
    chat.send(renewal("authorization", "ada 2"));
    expect((await chat.ended()).lost).toMatchObject({ reason: Reason.PROTOCOL_ERROR });
  });
});

test.each([
  ["5 minutes", 300_000, 26],
  ["20 seconds", 20_000, 390],
  // Credentials that are valid for long are renewed 5 minutes before they expire.
  ["55 minutes", 3_300_000, 1],
])(
  "an hour with credentials of %s: they are renewed in time, and not too often",
  async (_, validMs, most) => {
    const time = new FakeTime();
    const clock = time.clock();
    let renewals = 0;
    let expirations = 0;
    const credentials = (): Credentials => ({
      validMs,
      async renew() {
        renewals++;
        return credentials();
      },
    });
    const source = { freshHeaders: async () => ({}) as HeaderList };
    const renewal = new CredentialRenewal(clock, source, (headers) => void watch.renew(headers));
    const session = {
      sendExpiry: (ms: number) => renewal.onExpires(ms),
      onExpired: () => expirations++,
      onRefused: () => expect.unreachable(),
    };
    const watch = new CredentialWatch(credentials(), clock, session);
    while (time.nowMs < 3_600_000) {
      time.pass(Math.min((time.nextMs as number) - time.nowMs, 3_600_000 - time.nowMs));
      // The headers and the authentication are promises.
      for (let turn = 0; turn < 10; turn++) await undefined;
    }
    expect(expirations).toBe(0);
    expect(renewals).toBeGreaterThan(0);
    expect(renewals).toBeLessThanOrEqual(most);
    watch[Symbol.dispose]();
    renewal.stop();
    expect(time.timers).toBe(0);
  },
);

test("of renewals that arrive while one is authenticated only the newest follows it", async () => {
  const authenticated: unknown[] = [];
  const first = gate();
  const credentials: Credentials = {
    validMs: 60_000,
    async renew({ authorization }) {
      authenticated.push(authorization);
      await first.opened;
      return credentials;
    },
  };
  using watch = new CredentialWatch(credentials, new FakeTime().clock(), {
    sendExpiry: () => {},
    onExpired: () => {},
    onRefused: () => {},
  });
  const renewals = Array.from({ length: 1000 }, (_, n) => {
    return watch.renew({ authorization: `ada ${n}` });
  });
  first.open();
  await Promise.all(renewals);
  expect(authenticated).toEqual(["ada 0", "ada 999"]);
  await watch.renew({ authorization: "ada 1000" });
  expect(authenticated).toHaveLength(3);
});
