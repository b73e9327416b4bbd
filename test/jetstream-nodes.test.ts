import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { Code, type ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { sleep } from "../src/flow/wait.ts";
import { openLink } from "../src/testing/link.ts";
import { type JetStreamLogOptions, jetStreamLog } from "../src/topics/jetstream/jetstream.ts";
import type { NewRecord, TopicItem, TopicLog } from "../src/topics/log.ts";
import { bytes, made, numbered, pages, readItems, shown, texts } from "./contract/engine.ts";
import { stillAt, until } from "./support/gate.ts";
import { findNats, startNats } from "./support/nats.ts";

const program = findNats();

/** A NATS server for one test, and logs in one stream of it. */
async function start() {
  const nats = await startNats(program as string);
  const logs: TopicLog[] = [];
  return {
    nats,
    async open(options: Partial<JetStreamLogOptions> = {}): Promise<TopicLog> {
      const log = await jetStreamLog({ servers: nats.url, ...options });
      logs.push(log);
      return log;
    },
    async [Symbol.asyncDispose]() {
      for (const log of logs) await log[Symbol.asyncDispose]();
      await nats[Symbol.asyncDispose]();
    },
  };
}

/** Reads the topic "t" into an array until read() throws; `ended` resolves with the error. */
function follow(log: TopicLog, signal: AbortSignal, after?: string) {
  const items: TopicItem[] = [];
  const ended = (async () => {
    for await (const item of log.read("t", after, signal)) items.push(item);
  })().catch((error: unknown) => error);
  return { items, ended };
}

/** The pause of a client before it appends again: no event of a log says that appends would succeed. */
const RETRY_MS = 20;

/** Appends until the append is acknowledged; returns the number of attempts. */
async function appendUntilStored(log: TopicLog, topic: string, record: NewRecord): Promise<number> {
  for (let tries = 1; ; tries++) {
    try {
      await log.append(topic, [record]);
      return tries;
    } catch (error) {
      if ((error as ConnectError).code !== Code.Unavailable) throw error;
      await sleep(RETRY_MS, undefined);
    }
  }
}

/** A proxy to the server that can drop and delay publications to a subject. */
async function openLossy(port: number, subject: string) {
  const sockets = new Set<Socket>();
  const lossy = {
    url: "",
    /** How many of the next publications are dropped. */
    drops: 0,
    /**
     * Called at each publication with its number. If it returns a promise, the publication and
     * everything after it wait for that.
     */
    hold: undefined as ((nth: number) => Promise<void> | undefined) | undefined,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
  const publication = /H?PUB (\S+) \S+ [\d ]+\r\n(?:NATS\/1\.0\r\n(?:.+\r\n)*\r\n)?.*\r\n/g;
  const server = createServer((client) => {
    const upstream = connect(port, "127.0.0.1");
    let ready = Promise.resolve();
    let seen = 0;
    for (const socket of [client, upstream]) sockets.add(socket.on("error", () => {}));
    upstream.pipe(client);
    // A chunk of the client has complete frames; it splits only large frames.
    client.setEncoding("latin1").on("data", (text: string) => {
      const kept = text.replace(publication, (frame: string, to: string) => {
        if (!to.includes(subject)) return frame;
        const held = lossy.hold?.(++seen);
        if (held !== undefined) ready = ready.then(() => held);
        if (lossy.drops === 0) return frame;
        lossy.drops--;
        return "";
      });
      ready = ready.then(() => void upstream.write(kept, "latin1"));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  lossy.url = `nats://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return lossy;
}

async function codeOf(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => "done",
    (error: ConnectError) => Code[error.code] as string,
  );
}

describe.skipIf(program === undefined)("several nodes on one stream", () => {
  test("readers of all nodes get the records of every node in the same order", async () => {
    await using world = await start();
    const nodes = [await world.open(), await world.open(), await world.open()];
    const signal = AbortSignal.timeout(8_000);
    const readers = nodes.map((log) => readItems(log.read("t", undefined, signal), 600));
    const writers = nodes.map(async (log, node) => {
      for (let n = 0; n < 100; n++) {
        const first = log.append("t", texts(`${node}.${2 * n}`));
        await Promise.all([first, log.append("t", texts(`${node}.${2 * n + 1}`))]);
      }
    });
    await Promise.all(writers);
    const all = await pages(nodes[0] as TopicLog, "t");
    const cursors = all.map(({ cursor }) => cursor);
    for (const items of await Promise.all(readers)) {
      expect(items.map(({ cursor }) => cursor)).toEqual(cursors);
      expect(shown(items)).toEqual(shown(all));
    }
    for (const node of nodes.keys()) {
      const own = shown(all).filter((text) => text.startsWith(`${node}.`));
      expect(own).toEqual(Array.from({ length: 200 }, (_, n) => `${node}.${n}`));
    }
  });

  test("a record that all nodes append at the same time is stored once", async () => {
    await using world = await start();
    const nodes = [await world.open(), await world.open(), await world.open()];
    const appended = await Promise.all(nodes.map((log) => log.append("t", [made("p", 1n)])));
    expect(appended.flat().filter(({ repeated }) => !repeated).length).toBe(1);
    expect(new Set(appended.flat().map(({ cursor }) => cursor)).size).toBe(1);
  });

  test("readers of a node get a gap after a trim on another node", async () => {
    await using world = await start();
    const [one, other] = [await world.open(), await world.open()];
    const appended = await one.append("t", numbered(10));
    const cursors = appended.map(({ cursor }) => cursor);
    const trims = [3, 7, 5, 1].map((n, at) =>
      (at % 2 === 0 ? one : other).trim("t", cursors[n] as string),
    );
    await Promise.all(trims);
    for (const log of [one, other]) {
      expect(shown(await pages(log, "t", cursors[4]))).toEqual(["(gap)", "8", "9"]);
      expect(shown(await pages(log, "t", cursors[7]))).toEqual(["8", "9"]);
    }
  });
});

describe.skipIf(program === undefined)("a server that fails", () => {
  test("no record is lost or stored twice when the server is killed four times under readers and writers", async () => {
    await using world = await start();
    const nodes = [await world.open(), await world.open()];
    const leave = new AbortController();
    const readers = nodes.map((log) => follow(log, leave.signal));
    const [producers, each] = [8, 150];
    let [acknowledged, repeats] = [0, 0];
    const writing = Array.from({ length: producers }, async (_, p) => {
      for (let n = 0; n < each; n++) {
        const log = nodes[(p + n) % 2] as TopicLog;
        repeats += (await appendUntilStored(log, "t", made(`${p}.`, BigInt(n)))) - 1;
        acknowledged++;
      }
    });
    for (let kills = 1; kills <= 4; kills++) {
      const reached = (kills * producers * each) / 5;
      await until(`${reached} are acknowledged`, () => acknowledged >= reached);
      await world.nats.kill();
      await world.nats.start();
    }
    await Promise.all(writing);
    const all = shown(await pages(nodes[0] as TopicLog, "t"));
    expect(all.length).toBe(producers * each);
    for (let p = 0; p < producers; p++) {
      const own = all.filter((text) => text.startsWith(`${p}.`));
      expect(own).toEqual(Array.from({ length: each }, (_, n) => `${p}.${n}`));
    }
    for (const { items } of readers) {
      await until("a reader has all", () => items.length >= all.length);
      expect(shown(items)).toEqual(all);
    }
    expect(repeats).toBeGreaterThan(0);
    leave.abort(new Error("enough"));
    for (const { ended } of readers) expect(await ended).toBe(leave.signal.reason);
  });

  test("while the server is down, calls fail immediately with UNAVAILABLE and readers wait; all continue when it is up again", async () => {
    await using world = await start();
    const log = await world.open();
    const [first] = await log.append("t", texts("a"));
    const leave = new AbortController();
    const reader = follow(log, leave.signal);
    const leaving = new AbortController();
    const leaver = follow(log, leaving.signal);
    await until("the history is read", () => reader.items.length + leaver.items.length === 2);

    await world.nats.kill();
    const startedAt = performance.now();
    const calls = [
      log.append("t", texts("lost")),
      log.page("t", first?.cursor),
      log.end("t"),
      log.topics(),
      log.trim("t", first?.cursor as string),
    ];
    expect(new Set(await Promise.all(calls.map(codeOf)))).toEqual(new Set(["Unavailable"]));
    expect(performance.now() - startedAt).toBeLessThan(1_000);
    const late = follow(log, leave.signal, first?.cursor);
    leaving.abort(new Error("leaves meanwhile"));
    expect(await leaver.ended).toBe(leaving.signal.reason);

    await world.nats.start();
    await appendUntilStored(log, "t", made("b", 1n));
    await until("it is read", () => reader.items.length === 2 && late.items.length === 1);
    expect(shown(reader.items)).toEqual(["a", "b1"]);
    expect(shown(late.items)).toEqual(["b1"]);
    leave.abort();
    await Promise.all([reader.ended, late.ended]);
  });

  test("a server's address is logged once when it is down, and once when it is up again; callers do not get it", async () => {
    await using world = await start();
    const logged: string[] = [];
    const logLine = (text: string) => void logged.push(text);
    const log = await world.open({ logger: { error: logLine, warn: logLine } });
    await world.nats.kill();
    for (let n = 0; n < 10; n++) {
      await expect(log.append("t", texts("lost"))).rejects.toMatchObject({
        rawMessage: "the connection to NATS is lost; it is being made anew",
      });
    }
    const at = `127.0.0.1:${world.nats.port}`;
    expect(logged).toEqual([`the connection to NATS at ${at} is lost; it is being made anew`]);
    await world.nats.start();
    await appendUntilStored(log, "t", made("a", 1n));
    expect(logged.slice(1)).toEqual([`connected to NATS at ${at} again`]);
  });

  test("closing a log does not wait for a server that is down", async () => {
    await using world = await start();
    const log = await world.open();
    const reader = follow(log, AbortSignal.timeout(8_000));
    await log.append("t", texts("a"));
    await until("it is read", () => reader.items.length === 1);
    await world.nats.kill();
    const startedAt = performance.now();
    await log[Symbol.asyncDispose]();
    expect(performance.now() - startedAt).toBeLessThan(1_000);
    expect(await reader.ended).toMatchObject({ code: Code.Unavailable });
  });

  test("calls to a server that does not answer fail with UNAVAILABLE after timeoutMs", async () => {
    await using world = await start();
    const log = await world.open({ timeoutMs: 200 });
    world.nats.freeze();
    // The signal takes effect a moment after it was sent.
    while ((await codeOf(log.append("t", texts("a", "b")))) === "done");
    const startedAt = performance.now();
    expect(await codeOf(log.append("t", texts("a", "b")))).toBe("Unavailable");
    // More pages than can be read at the same time: those that wait for their turn fail at the same
    // time as the others.
    const calls = Array.from({ length: 1_000 }, () => codeOf(log.page("t", undefined)));
    expect(new Set(await Promise.all(calls))).toEqual(new Set(["Unavailable"]));
    expect(performance.now() - startedAt).toBeGreaterThan(390);
    expect(performance.now() - startedAt).toBeLessThan(2_000);
  });

  test("a reader notices a lost live record at the next record, or asks after silenceMs", async () => {
    await using world = await start();
    await using link = await openLink({ host: "127.0.0.1", port: world.nats.port });
    const other = await world.open();
    const leave = new AbortController();
    const servers = link.url.replace("http", "nats");
    const quick = await world.open({ servers, silenceMs: 100, timeoutMs: 500 });
    const patient = await world.open({ servers });
    const readers = [quick, patient].map((log) => follow(log, leave.signal));
    const counts = () => readers.map(({ items }) => items.length);
    await other.append("t", texts("a"));
    await until("it is read", () => counts().every((count) => count === 1));

    link.down.dropping = true;
    await other.append("t", texts("b"));
    await stillAt(() => Math.max(...counts()), 50);
    link.down.dropping = false;
    await until("the quick one has asked after silenceMs", () => counts()[0] === 2);
    expect(counts()).toEqual([2, 1]);
    await other.append("t", texts("c"));
    await until("both have all", () => counts().every((count) => count === 3));
    for (const { items } of readers) expect(shown(items)).toEqual(["a", "b", "c"]);
    leave.abort();
    for (const { ended } of readers) await ended;
    for (const log of [quick, patient]) await log[Symbol.asyncDispose]();
  });

  test("a request that the server drops without an answer is sent again", async () => {
    await using world = await start();
    await using lossy = await openLossy(world.nats.port, "CONSUMER.MSG.NEXT");
    const log = await world.open({ servers: lossy.url, timeoutMs: 1_000 });
    const cursors = (await log.append("t", numbered(3))).map(({ cursor }) => cursor);
    lossy.drops = 1;
    expect(shown(await log.page("t", undefined))).toEqual(["0", "1", "2"]);
    lossy.drops = 1;
    expect(shown(await log.page("t", cursors[0]))).toEqual(["1", "2"]);
    expect(lossy.drops).toBe(0);
  });

  test("a page has a gap for records that are removed while it is read", async () => {
    await using world = await start();
    await using lossy = await openLossy(world.nats.port, "CONSUMER.MSG.NEXT");
    const [log, other] = [await world.open({ servers: lossy.url }), await world.open()];
    const cursors: string[] = [];
    for (const record of numbered(100)) {
      const [appended] = await Promise.all([log.append("t", [record]), log.append("u", [record])]);
      cursors.push(appended[0]?.cursor as string);
    }
    // The first pull of a page brings some records; the others are trimmed before the second.
    lossy.hold = (nth) => (nth === 2 ? other.trim("t", cursors[59] as string) : undefined);
    const rest = numbered(40, "", 60).map(({ data }) => Buffer.from(data).toString());
    expect(shown(await pages(log, "t"))).toEqual(["0", "(gap)", ...rest]);
  });

  test("appends to a full stream fail with RESOURCE_EXHAUSTED and store nothing, until a trim makes space", async () => {
    await using world = await start();
    const log = await world.open({ maxBytes: 20_000 });
    const record = { data: new Uint8Array(1_000) };
    const cursors: string[] = [];
    let code = "done";
    while (code === "done") {
      const call = log.append("t", [record]);
      code = await codeOf(call);
      if (code === "done") cursors.push((await call)[0]?.cursor as string);
    }
    expect(code).toBe("ResourceExhausted");
    expect((await pages(log, "t")).length).toBe(cursors.length);
    // Fill the stream completely, so that there is no space for the trim marker.
    while ((await codeOf(log.append("t", texts("")))) === "done");
    const reader = follow(log, AbortSignal.timeout(8_000), cursors.at(-1));
    await log.trim("t", cursors[9] as string);
    expect(shown(await pages(log, "t", cursors[3]))[0]).toBe("(gap)");
    const [last] = await log.append("t", texts("there is space"));
    const there = () => reader.items.some(({ cursor }) => cursor === last?.cursor);
    await until("a reader has it", there);
    expect(await codeOf(log.append("t", [{ data: bytes("x".repeat(2 ** 20)) }]))).toBe(
      "ResourceExhausted",
    );
  });

  test("if there is no space for one record of an append, the others are stored, and repeating the append stores it after them", async () => {
    await using world = await start();
    const log = await world.open({ maxBytes: 20_000 });
    const [filler] = await log.append("filler", [{ data: new Uint8Array(10_000) }]);
    const records = ["a", "b".repeat(10_000), "c"].map((text, n) => ({
      data: bytes(text),
      id: { producer: "p", sequence: BigInt(n) },
    }));
    const stored = async () => shown(await pages(log, "t")).map((text) => text[0]);
    for (let n = 0; n < 2; n++) {
      await expect(log.append("t", records)).rejects.toMatchObject({
        // The second time no further record was stored.
        code: n === 0 ? Code.Unavailable : Code.ResourceExhausted,
        rawMessage: expect.stringMatching(
          n === 0 ? /^2 of 3 records were stored; repeat/ : "log has no room: nothing was stored",
        ),
      });
      expect(await stored()).toEqual(["a", "c"]);
    }
    await log.trim("filler", filler?.cursor as string);
    const repeated = (await log.append("t", records)).map((appended) => appended.repeated);
    expect(repeated).toEqual([true, false, true]);
    expect(await stored()).toEqual(["a", "c", "b"]);
  });

  test("an append fails with UNAVAILABLE if one record is refused and another not answered: that one may be stored", async () => {
    await using world = await start();
    await using lossy = await openLossy(world.nats.port, ".log.t");
    const log = await world.open({ servers: lossy.url, maxBytes: 20_000, timeoutMs: 300 });
    await log.append("filler", [{ data: new Uint8Array(10_000) }]);
    lossy.hold = (nth) => {
      if (nth === 2) lossy.drops = 1;
      return undefined;
    };
    const records = texts("b".repeat(10_000), "c");
    expect(await codeOf(log.append("t", records))).toBe("Unavailable");
    expect(lossy.drops).toBe(0);
    expect(await log.page("t", undefined)).toEqual([]);
    expect(await codeOf(log.append("t", records.slice(0, 1)))).toBe("ResourceExhausted");
  });
});
