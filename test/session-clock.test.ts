/** Clocks that differ: the client's machine sleeps, and its clock stands still while the server's runs. */
import { afterEach, expect, test, vi } from "vitest";
import { Greeter } from "../gen/example/greeter_pb.js";
import { realClock } from "../src/flow/clock.ts";
import { statusTrailers } from "../src/grpc/status.ts";
import {
  Code,
  createClient,
  createTransport,
  readSessionLost,
  SessionLostReason,
} from "../src/index.ts";
import { sessionLost } from "../src/session/lost.ts";
import { run } from "./support/child.ts";
import { responseHeaders } from "./support/fake-server.ts";
import { gate, until } from "./support/gate.ts";
import { openPrefixProxy } from "./support/prefix-proxy.ts";
import { all, failureOf, next } from "./support/read.ts";
import { type Hosted, refusal, scripted, sessionHost, terms } from "./support/session-host.ts";
import { data, envelope, headers, type Peer } from "./support/wire.ts";

const NEGOTIATE = "/hawser.v1.SessionService/Negotiate";

/** A process starts within this time, even on a busy machine. */
const PROCESS = { timeout: 30_000 };

afterEach(() => vi.restoreAllMocks());

/** Has the clock of this process stand still for `ms`. */
async function sleep(ms: number): Promise<void> {
  const stoodAt = performance.now();
  const now = vi.spyOn(realClock, "now").mockReturnValue(stoodAt);
  await new Promise((resolve) => setTimeout(resolve, ms));
  const behindMs = performance.now() - stoodAt;
  now.mockImplementation(() => performance.now() - behindMs);
}

/** A server in a process with a separate clock, reached through a proxy that notes the paths. */
async function otherMachine(graceMs: number) {
  const server = run("greeter-server", "0", `${graceMs}`);
  const proxy = await openPrefixProxy(await server.line(), "");
  const transport = createTransport({ baseUrl: proxy.origin });
  const count = (path: string) => proxy.paths.filter((one) => one === path).length;
  return {
    greeter: createClient(Greeter, transport),
    count,
    async [Symbol.asyncDispose]() {
      await transport.close();
      await proxy[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

test(
  "after a sleep that is longer than the grace, streaming calls continue, and one Negotiate serves all",
  PROCESS,
  async () => {
    // What the calls do after the sleep must take less than a grace, also on a busy machine.
    await using machine = await otherMachine(2000);
    const { greeter, count } = machine;
    const before = greeter.chat();
    await before.send({ content: "before" });
    expect(await next(before)).toMatchObject({ reply: "Received: before" });
    await sleep(2200);

    let begun = 0;
    async function* requests(name: string) {
      begun++;
      for (const n of [1, 2, 3]) yield { content: `${name} ${n}` };
    }
    const calls = Array.from({ length: 25 }, (_, n) => {
      const name = `call ${n}`;
      return all(greeter.chat(requests(name))).then((replies) => {
        const said = [1, 2, 3].map((m) => `Received: ${name} ${m}`);
        expect(replies.map(({ reply }) => reply)).toEqual(said);
      });
    });
    const collected = greeter.collect(requests("collected"));
    const pushed = all(greeter.subscribe({ count: 3, interval: { nanos: 0 } }));
    await Promise.all(calls);
    expect(await collected).toMatchObject({ count: 3 });
    expect(await pushed).toHaveLength(3);
    expect(begun).toBe(26);
    expect(count(NEGOTIATE)).toBe(2);
    // Each of the first was sent twice; a later one is not.
    expect(count("/example.Greeter/Collect")).toBe(2);
    expect(await all(greeter.chat(requests("later")))).toHaveLength(3);
    expect(count("/example.Greeter/Chat")).toBe(1 + 25 * 2 + 1);
    // The session that was there before does not care.
    await before.send({ content: "after" });
    expect(await next(before)).toMatchObject({ reply: "Received: after" });
    before.closeSend();
    expect(await next(before)).toBeUndefined();
  },
);

test("a window full, and more, is sent again whole and in order", PROCESS, async () => {
  await using machine = await otherMachine(400);
  const { greeter } = machine;
  await greeter.collect().finish();
  await sleep(600);
  const chat = greeter.chat();
  const content = "x".repeat(50_000);
  const sending = (async () => {
    for (let n = 0; n < 60; n++) await chat.send({ content: `${n} ${content}` });
    chat.closeSend();
  })();
  const replies = await all(chat);
  await sending;
  expect(replies.map(({ reply }) => Number(reply.split(" ")[1]))).toEqual([...Array(60).keys()]);
});

/** Ends an attachment as one that is too old. */
function expired(attachment: Hosted): void {
  const error = sessionLost(SessionLostReason.EXPIRED, 0);
  attachment.end(refusal(Code.Aborted, statusTrailers(error, undefined) as Record<string, string>));
}

/** Answers each Negotiate with `said` if `how` returns true; otherwise `how` answers it, or nothing does. */
function negotiations(
  how: (count: number, peer: Peer, stream: number) => boolean = () => true,
  said = terms(),
) {
  const answers = { count: 0, negotiation: (_peer: Peer, _stream: number) => {} };
  answers.negotiation = (peer, stream) => {
    if (!how(++answers.count, peer, stream)) return;
    peer.write(
      responseHeaders(stream),
      data(stream, envelope(said)),
      headers(stream, [["grpc-status", "0"]], true),
    );
  };
  return answers;
}

test("a call whose server always answers EXPIRED fails after two more sessions", async () => {
  const negotiate = negotiations();
  await using host = await sessionHost(expired, { negotiation: negotiate.negotiation });
  const chat = host.client.chat(scripted);
  chat.send({ content: "one" }).catch(() => {});
  const error = await failureOf(chat);
  expect(error.code).toBe(Code.Aborted);
  expect(readSessionLost(error)).toMatchObject({ reason: SessionLostReason.EXPIRED, arrived: 0n });
  expect(error.rawMessage).toContain("longer ago than the grace period");
  expect(host.hosted.map(({ number }) => number)).toEqual([1, 1, 1]);
  expect(new Set(host.hosted.map(({ asks }) => asks["hawser-session"])).size).toBe(3);
  expect(negotiate.count).toBe(3);
});

test("a session that begins anew outlives the grace of the one that never began", async () => {
  const negotiate = negotiations(undefined, terms({ graceMs: 700n }));
  await using host = await sessionHost(
    (attachment) => {
      // REFUSED_STREAM, then EXPIRED, then an answer.
      if (host.hosted.length === 1) attachment.reset(7);
      else if (host.hosted.length === 2) expired(attachment);
      else attachment.answer();
    },
    { negotiation: negotiate.negotiation },
  );
  const chat = host.client.chat(scripted);
  await chat.headers;
  expect(host.hosted.map(({ number }) => number)).toEqual([1, 1, 1]);
  // No timer of the earlier sessions may end the call.
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  expect(chat.state).toBe("open");
  chat.cancel();
});

test("a session that was answered does not begin anew", async () => {
  const negotiate = negotiations();
  await using host = await sessionHost(
    (attachment) => {
      if (attachment.number === 1) {
        attachment.answer();
        attachment.reset(8);
      } else expired(attachment);
    },
    { negotiation: negotiate.negotiation },
  );
  const chat = host.client.chat(scripted);
  expect(readSessionLost(await failureOf(chat))?.reason).toBe(SessionLostReason.EXPIRED);
  expect(host.hosted.map(({ number }) => number)).toEqual([1, 2]);
  expect(negotiate.count).toBe(1);
});

test("a session whose first attachment was lost without an answer may have begun, and does not begin anew", async () => {
  const negotiate = negotiations();
  await using host = await sessionHost(
    (attachment) => {
      if (attachment.number === 1) attachment.reset(8);
      else expired(attachment);
    },
    { negotiation: negotiate.negotiation },
  );
  const chat = host.client.chat(scripted);
  expect(readSessionLost(await failureOf(chat))?.reason).toBe(SessionLostReason.EXPIRED);
  expect(host.hosted.map(({ number }) => number)).toEqual([1, 2]);
});

test("a call ends with EXPIRED if a second Negotiate gets no settings, and the next call asks again", async () => {
  const negotiate = negotiations((count, peer, stream) => {
    if (count === 2) peer.write(headers(stream, Object.entries(refusal(14)), true));
    return count !== 2;
  });
  let isAwake = false;
  await using host = await sessionHost(
    (attachment) => {
      if (isAwake) attachment.answer();
      else expired(attachment);
    },
    { negotiation: negotiate.negotiation },
  );
  const error = await failureOf(host.client.chat(scripted));
  expect(readSessionLost(error)?.reason).toBe(SessionLostReason.EXPIRED);
  expect(negotiate.count).toBe(2);
  isAwake = true;
  const chat = host.client.chat(scripted);
  await chat.headers;
  expect(chat.resumable).toBe(true);
  expect(negotiate.count).toBe(3);
  chat.cancel();
});

test("Negotiate is called again if the connection is lost during the call", async () => {
  const negotiate = negotiations((count, peer) => {
    if (count === 2) peer.socket.destroy();
    return count !== 2;
  });
  await using host = await sessionHost(
    (attachment) => {
      if (negotiate.count < 3) expired(attachment);
      else attachment.answer();
    },
    { negotiation: negotiate.negotiation },
  );
  const chat = host.client.chat(scripted);
  await chat.send({ content: "one" });
  await chat.headers;
  await host.hosted.at(-1)?.hears(1);
  expect(negotiate.count).toBe(3);
  chat.cancel();
});

test.each(["a deadline", "a cancel", "the transport's end"])(
  "%s ends a call that waits for the server's clock",
  async (what) => {
    const asking = gate();
    const negotiate = negotiations((count) => {
      if (count > 1) asking.open();
      return count === 1;
    });
    await using host = await sessionHost(expired, { negotiation: negotiate.negotiation });
    const timeoutMs = what === "a deadline" ? 300 : undefined;
    const chat = host.client.chat({ ...scripted, timeoutMs });
    const ending = failureOf(chat);
    await asking.opened;
    if (what === "a cancel") chat.cancel();
    if (what === "the transport's end") await host.transport.close();
    const { code } = await ending;
    expect(code).toBe(what === "a deadline" ? Code.DeadlineExceeded : Code.Canceled);
    await until("the call is closed", () => chat.state === "closed");
    expect(host.hosted).toHaveLength(1);
  },
);
