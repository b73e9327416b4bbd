import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { fileURLToPath } from "node:url";
import { Code } from "@connectrpc/connect";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { jetStreamLog } from "../src/topics/jetstream/jetstream.ts";
import { made, numbered, pages, readItems, shown, texts } from "./contract/engine.ts";
import { type Api, startFakeNats } from "./support/fake-nats.ts";
import { findNats, type Nats, startNats } from "./support/nats.ts";

/** Opens a log that is refused. Returns the error. */
async function refusalOf(opening: Promise<AsyncDisposable>) {
  const error = await opening.then(
    async (log) => {
      await log[Symbol.asyncDispose]();
      throw new Error("it was opened");
    },
    (error) => error,
  );
  return { code: error.code, text: error.rawMessage };
}

/** A server that accepts any configuration, but drops some settings of it. */
const forgetful =
  (...dropped: string[]): Api =>
  (method, body) => {
    if (method === "INFO") return {};
    if (method.startsWith("STREAM.INFO")) {
      return { error: { code: 404, err_code: 10059, description: "stream not found" } };
    }
    const config = Object.entries(body as object).filter(([key]) => !dropped.includes(key));
    return { config: Object.fromEntries(config), created: "2026-01-01T00:00:00Z", state: {} };
  };

describe("opening a log on a NATS server", () => {
  test.each(["2.9.3", "2.8.4", "1.4.1", "2.9.0-beta.12"])(
    "version %s of the server is refused as too old",
    async (version) => {
      await using nats = await startFakeNats(version, forgetful());
      const { code, text } = await refusalOf(jetStreamLog({ servers: nats.url }));
      expect(code).toBe(Code.FailedPrecondition);
      expect(text).toContain(version);
      expect(text).toContain("2.9.4");
    },
  );

  test.each(["2.9.4", "2.9.10", "2.10.0", "2.11.9-RC.1", "3.0.0"])(
    "version %s of the server is accepted",
    async (version) => {
      await using nats = await startFakeNats(version, forgetful());
      await using log = await jetStreamLog({ servers: nats.url });
      expect(log.epoch).toMatch(/^[0-9a-f]{16}$/);
    },
  );

  test.each(["republish", "discard", "duplicate_window", "max_msgs_per_subject"])(
    "a server that drops the setting %s without an error is refused",
    async (setting) => {
      await using nats = await startFakeNats("2.11.0", forgetful(setting));
      const opening = jetStreamLog({ servers: nats.url, retention: { records: 9 } });
      const { code, text } = await refusalOf(opening);
      expect(code).toBe(Code.FailedPrecondition);
      expect(text).toContain(`${setting} is not there`);
    },
  );

  test("the error has the address of a server that cannot be reached", async () => {
    const { code, text } = await refusalOf(jetStreamLog({ servers: "nats://127.0.0.1:1" }));
    expect(code).toBe(Code.Unavailable);
    expect(text).toContain("127.0.0.1:1");
  });

  test.each(["nats://ann:secret@127.0.0.1:1", "ann:secret@127.0.0.1:1"])(
    "the error leaves out user and password if %s cannot be reached",
    async (servers) => {
      const { text } = await refusalOf(jetStreamLog({ servers }));
      expect(text).toContain("no NATS at ");
      expect(text).toContain("…@127.0.0.1:1");
      expect(text).not.toMatch(/ann|secret/);
    },
  );
});

test("jetStreamLog() refuses invalid options with INVALID_ARGUMENT", async () => {
  const servers = "nats://127.0.0.1:1";
  for (const options of [
    { stream: "" },
    { stream: "a.b" },
    { stream: "a b" },
    { retention: { records: 0 } },
    { retention: { bytes: 1_000 } as object },
  ]) {
    const { code } = await refusalOf(jetStreamLog({ servers, ...options }));
    expect(code).toBe(Code.InvalidArgument);
  }
});

test("the error of jetStreamLog() names the packages to install if they are missing", () => {
  const engine = new URL("../src/topics/jetstream/jetstream.ts", import.meta.url).href;
  const program = `
    import { registerHooks } from "node:module";
    registerHooks({
      resolve(name, context, next) {
        if (!name.startsWith("@nats-io/")) return next(name, context);
        throw Object.assign(new Error("not found: " + name), { code: "ERR_MODULE_NOT_FOUND" });
      },
    });
    const { jetStreamLog } = await import(${JSON.stringify(engine)});
    await jetStreamLog({ servers: "127.0.0.1:1" }).catch((error) => console.log(error.message));
  `;
  const cwd = fileURLToPath(new URL("..", import.meta.url));
  const options = ["--input-type=module", "--eval", program];
  const output = execFileSync(process.execPath, options, { cwd, encoding: "utf8" });
  expect(output).toContain("[failed_precondition]");
  expect(output).toContain("npm install @nats-io/transport-node @nats-io/jetstream");
});

const program = findNats();

describe.skipIf(program === undefined)("opening a log on a stream", () => {
  let nats: Nats;
  beforeAll(async () => {
    nats = await startNats(program as string);
  });
  afterAll(() => nats[Symbol.asyncDispose]());

  const named = () => `test-${randomBytes(6).toString("hex")}`;

  async function manager() {
    const connection = await connect({ servers: nats.url });
    const { streams } = await jetstreamManager(connection);
    return { streams, [Symbol.asyncDispose]: () => connection.close() };
  }

  test("a stream of another program is refused, and left unchanged", async () => {
    await using raw = await manager();
    const [stream, others] = [named(), { subjects: ["orders.>"] }];
    const { config } = await raw.streams.add({ name: stream, ...others });
    const { code, text } = await refusalOf(jetStreamLog({ servers: nats.url, stream }));
    expect(code).toBe(Code.FailedPrecondition);
    expect(text).toContain("orders.>");
    expect((await raw.streams.info(stream)).config).toEqual(config);
  });

  test("a stream in memory is refused: the log would not be durable", async () => {
    await using raw = await manager();
    const stream = named();
    const head = `${stream}.0123456789abcdef`;
    await raw.streams.add({
      name: stream,
      subjects: [`${head}.log.*`, `${head}.trim.*`],
      storage: "memory",
    });
    const { code, text } = await refusalOf(jetStreamLog({ servers: nats.url, stream }));
    expect(code).toBe(Code.FailedPrecondition);
    expect(text).toContain(`storage is "memory"`);
  });

  test("another retention updates the stream; a gap is reported for records that may have been dropped", async () => {
    const [stream, servers] = [named(), nats.url];
    const open = (records?: number) =>
      jetStreamLog({ servers, stream, retention: records === undefined ? {} : { records } });
    const epochs = new Set<string>();
    let appended: { cursor: string }[];
    {
      await using log = await open();
      appended = await log.append("t", numbered(10));
      epochs.add(log.epoch);
    }
    {
      await using log = await open(3);
      // Servers before 2.10 drop one record for each new one, although they should drop all that
      // exceed the limit.
      await log.append("t", numbered(5, "", 10));
      expect(shown(await pages(log, "t")).slice(-3)).toEqual(["12", "13", "14"]);
      epochs.add(log.epoch);
    }
    // Without the limit nothing in the topic shows that there was one.
    await using log = await open();
    const kept = shown(await pages(log, "t"));
    expect(Number(kept[0])).toBeGreaterThan(4);
    const from = async (cursor?: string) => shown(await pages(log, "t", cursor));
    expect(await from(appended[2]?.cursor)).toEqual(["(gap)", ...kept]);
    const [, second] = await log.page("t", undefined);
    expect(await from(second?.cursor)).toEqual(kept.slice(2));
    expect(new Set([...epochs, log.epoch]).size).toBe(1);
  });

  test("many logs that open a stream at the same time share one", async () => {
    const stream = named();
    const opening = Array.from({ length: 8 }, () => jetStreamLog({ servers: nats.url, stream }));
    const logs = await Promise.all(opening);
    expect(new Set(logs.map(({ epoch }) => epoch)).size).toBe(1);
    await Promise.all(logs.map((log) => log.append("t", [made("p", 1n)])));
    expect((await pages(logs[0] as (typeof logs)[0], "t")).length).toBe(1);
    for (const log of logs) await log[Symbol.asyncDispose]();
  });

  test("a stream that was deleted and created again has another epoch: earlier cursors lead to a gap", async () => {
    await using raw = await manager();
    const stream = named();
    await using old = await jetStreamLog({ servers: nats.url, stream });
    const [, last] = await old.append("t", texts("a", "b"));
    await raw.streams.delete(stream);
    await expect(old.append("t", texts("lost"))).rejects.toMatchObject({ code: Code.Unavailable });
    const reading = readItems(old.read("t", last?.cursor, AbortSignal.timeout(5_000)), 1);
    await using log = await jetStreamLog({ servers: nats.url, stream });
    await log.append("t", texts("c"));
    expect(log.epoch).not.toBe(old.epoch);
    await expect(old.append("t", texts("lost"))).rejects.toMatchObject({ code: Code.Unavailable });
    await expect(reading).rejects.toMatchObject({ code: Code.FailedPrecondition });
    await expect(old.end("t")).rejects.toMatchObject({ code: Code.FailedPrecondition });
    expect(shown(await pages(log, "t", last?.cursor))).toEqual(["(gap)", "c"]);
  });
});

test.skipIf(program === undefined)("a server without JetStream is refused", async () => {
  await using nats = await startNats(program as string, { jetstream: false });
  const { code, text } = await refusalOf(jetStreamLog({ servers: nats.url }));
  expect(code).toBe(Code.FailedPrecondition);
  expect(text).toContain("-js");
});
