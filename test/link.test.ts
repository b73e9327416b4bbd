import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { expect, test } from "vitest";
import { openLink, type TcpLink } from "../src/testing/link.ts";
import { settles, stillAt, until } from "./support/gate.ts";

/** A link to a server that keeps what it gets, and one connection through it, of which both ends are seen. */
async function through() {
  const ends: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => ends.push(socket));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  const link = await openLink({ host: "127.0.0.1", port });
  const client = connect({ host: "127.0.0.1", port: link.port, allowHalfOpen: true });
  await until("the server has it", () => ends.length === 1);
  const here = watch(client);
  const there = watch(ends[0] as Socket);
  return {
    link,
    here,
    there,
    async [Symbol.asyncDispose]() {
      await link[Symbol.asyncDispose]();
      for (const socket of [client, ...ends]) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

function watch(socket: Socket) {
  const end = { socket, got: "", sawFin: false, error: "" };
  socket.setEncoding("latin1");
  socket.on("data", (text) => {
    end.got += text;
  });
  socket.on("end", () => {
    end.sawFin = true;
  });
  socket.on("error", (error: NodeJS.ErrnoException) => {
    end.error = error.code ?? "";
  });
  return end;
}

test("a link passes bytes both ways, and the FIN of each direction", async () => {
  await using line = await through();
  line.here.socket.end("to the server");
  await until("it came, with its end", () => line.there.sawFin);
  expect(line.there.got).toBe("to the server");
  line.there.socket.end("to the client");
  await until("it came, with its end", () => line.here.sawFin);
  expect(line.here.got).toBe("to the client");
  await until("the link lets go", () => line.link.open === 0);
  expect([line.link.up.delivered, line.link.down.delivered]).toEqual([13, 13]);
});

test.each(["fin", "rst"] as const)(
  "cutAfter() delivers exactly the given bytes, then cuts (%s)",
  async (kind) => {
    await using line = await through();
    const cut = line.link.cutAfter("up", 1_003, kind);
    line.here.socket.write("x".repeat(700));
    line.here.socket.write("x".repeat(700));
    await until("both ends noticed", () =>
      [line.here, line.there].every(({ sawFin, error }) =>
        kind === "fin" ? sawFin : error !== "",
      ),
    );
    expect(line.there.got).toHaveLength(1_003);
    for (const { socket } of [line.here, line.there]) if (kind === "fin") socket.end();
    await cut;
  },
);

test.each<[string, (link: TcpLink) => Promise<unknown>]>([
  ["cut()", (link) => link.cut("fin")],
  ["cutAfter()", (link) => link.cutAfter("up", 1, "fin")],
])("%s with FIN resolves although a stalled direction is full", async (_name, cutIn) => {
  await using line = await through();
  const { here, there, link } = line;
  link.stall("down");
  there.socket.write(Buffer.alloc(32 << 20));
  expect(await stillAt(() => there.socket.writableLength, 100)).toBeGreaterThan(0);
  let cuts = 0;
  const cut = cutIn(link).then(() => cuts++);
  here.socket.write("x");
  await until("both ends have the FIN", () => here.sawFin && there.sawFin);
  for (const { socket } of [here, there]) socket.end();
  await until("the cut resolves", () => cuts === 1);
  await cut;
  expect(link.open).toBe(0);
});

test("cutAfter() cuts one connection if bytes of two are delivered at the same time", async () => {
  await using line = await through();
  const { link } = line;
  const other = watch(connect({ host: "127.0.0.1", port: link.port }));
  await until("both are connected", () => link.open === 2);
  const stall = link.stall("up");
  for (const { socket } of [line.here, other]) socket.write("x".repeat(100));
  expect(await stillAt(() => link.up.delivered, 50)).toBe(0);
  let cuts = 0;
  void link.cutAfter("up", 10).then(() => cuts++);
  stall[Symbol.dispose]();
  await until("the cut resolves", () => cuts === 1);
  await until("one connection ended", () => link.open === 1);
  other.socket.destroy();
});

test("cutAfter() does not count bytes that are already on their way", async () => {
  await using line = await through();
  const { here, there, link } = line;
  there.socket.pause();
  here.socket.write(Buffer.alloc(32 << 20));
  const delivered = await stillAt(() => link.up.delivered, 100);
  let cuts = 0;
  void link.cutAfter("up", 5).then(() => cuts++);
  there.socket.resume();
  await until("the cut resolves", () => cuts === 1);
  expect(link.up.delivered).toBeGreaterThan(delivered + 5);
});

test("cut() ends every connection, refuse() resets new ones, and a new target gets the next", async () => {
  await using line = await through();
  line.link.cut("rst");
  await until("both ends noticed", () => line.here.error !== "" && line.there.error !== "");
  line.link.refuse();
  const refused = watch(connect({ host: "127.0.0.1", port: line.link.port }));
  await until("it is refused", () => refused.socket.closed);
  expect(refused.got).toBe("");
  line.link.accept();
  await using other = await through();
  line.link.target = { host: "127.0.0.1", port: other.link.port };
  const moved = connect({ host: "127.0.0.1", port: line.link.port });
  await until("the other has it", () => other.link.accepted === 2);
  moved.destroy();
});

test("a stalled direction delivers nothing until it resumes, the other direction continues, and nothing is lost", async () => {
  await using line = await through();
  line.link.stall("up");
  line.here.socket.write("held back");
  line.there.socket.write("passes");
  await until("the other direction passes", () => line.here.got === "passes");
  expect(await stillAt(() => line.there.got.length, 50)).toBe(0);
  line.link.resume("up");
  await until("the stalled direction delivers", () => line.there.got === "held back");
});

test("a stalled direction fills the sender's socket, and is not read without bound", async () => {
  await using line = await through();
  line.link.stall("up");
  line.here.socket.write(Buffer.alloc(32 << 20));
  expect(await settles(() => line.here.socket.writableLength === 0, 300)).toBe(false);
});

test("a dropping direction takes everything and delivers nothing", async () => {
  await using line = await through();
  line.link.up.dropping = true;
  await new Promise((resolve) => line.here.socket.write(Buffer.alloc(8 << 20), resolve));
  expect(line.there.got).toBe("");
  expect(line.link.up.delivered).toBe(0);
});

test("delay() is latency, not bandwidth: many bytes take as long as one", async () => {
  await using line = await through();
  line.link.delay(60, "up");
  const began = performance.now();
  for (let n = 0; n < 50; n++) line.here.socket.write("0123456789");
  await until("all came", () => line.there.got.length === 500);
  expect(line.there.got).toBe("0123456789".repeat(50));
  expect(performance.now() - began).toBeGreaterThan(55);
  expect(performance.now() - began).toBeLessThan(600);
});

test("bytesPerSecond limits the bandwidth", async () => {
  await using line = await through();
  line.link.up.bytesPerSecond = 1_000_000;
  const began = performance.now();
  line.here.socket.write(Buffer.alloc(200_000));
  await until("all came", () => line.there.got.length === 200_000);
  expect(performance.now() - began).toBeGreaterThan(150);
});
