/** What a bundler makes of hawser/web for a page. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import type { Greeter as GreeterService } from "../gen/example/greeter_pb.js";
import { type Bundle, bundle } from "../scripts/web-page.ts";
import type { Client, ClosableTransport } from "../src/web.ts";
import { next } from "./support/read.ts";
import { startWeb } from "./support/web-world.ts";

let page: Bundle;

beforeAll(async () => {
  page = await bundle({ conditions: ["hawser-source"] });
});

/** The programs that the bundle was made of. */
const inputs = () => Object.keys(page.metafile.inputs);

/** What in the bundle matches. */
const found = (pattern: RegExp) => page.code.match(pattern) ?? [];

test("a page needs nothing of Node, and nothing that is not in the bundle", () => {
  expect(inputs()).toContain("src/web/transport.ts");
  expect(inputs().filter((file) => file.startsWith("src/node/"))).toEqual([]);
  const [output] = Object.values(page.metafile.outputs);
  expect(output?.imports).toEqual([]);
  expect(found(/\bnode:|\brequire\(|\bimport\(|\bsetImmediate\b|\bBuffer\b/g)).toEqual([]);
});

test("a page makes no code at run time, so that a strict Content-Security-Policy has nothing to report", () => {
  expect(inputs().filter((file) => file.includes("/compiled/"))).toEqual([]);
  expect(found(/\bFunction\(|\beval\b/g)).toEqual([]);
});

test("a page needs no explicit resource management of its browser", async () => {
  const readable = { conditions: ["hawser-source"], minify: false, target: "esnext" };
  const { code } = await bundle(readable);
  expect(code.match(/\busing [\w$]+ =/g) ?? []).toEqual([]);
});

test("a bundler for browsers takes hawser/web for hawser", async () => {
  const stdin = { contents: 'export * from "hawser"', resolveDir: "." };
  const { metafile } = await bundle({ conditions: ["hawser-source"], entryPoints: [], stdin });
  expect(Object.keys(metafile.inputs)).toContain("src/web/transport.ts");
  expect(Object.keys(metafile.inputs)).not.toContain("src/node/transport.ts");
});

test("the bundle makes calls with sessions on its own, also where Symbol.dispose is missing", async () => {
  const folder = await mkdtemp(join(tmpdir(), "hawser-page-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const { code } = await bundle({
    ...{ conditions: ["hawser-source"], entryPoints: [], define: { Symbol: "OldSymbol" } },
    stdin: {
      contents: `export * from "hawser/web"; export * from "hawser/gen/example/greeter_pb.js"; export const symbol = Symbol;`,
      resolveDir: ".",
    },
    banner: {
      js: `const OldSymbol = Object.assign((name) => Symbol(name), {
        for: Symbol.for, iterator: Symbol.iterator, asyncIterator: Symbol.asyncIterator,
        hasInstance: Symbol.hasInstance, toStringTag: Symbol.toStringTag });`,
    },
  });
  const file = join(folder, "page.mjs");
  await writeFile(file, code);
  const { createClient, createTransport, Greeter, symbol } = await import(file);
  expect(symbol.dispose).toBe(Symbol.for("Symbol.dispose"));
  await using world = await startWeb();
  const transport: ClosableTransport = createTransport({ baseUrl: world.url });
  const greeter: Client<typeof GreeterService> = createClient(Greeter, transport);
  const chat = greeter.chat();
  await chat.send({ content: "one" });
  expect(await next(chat)).toMatchObject({ reply: "Received: one" });
  expect(chat.resumable).toBe(true);
  await world.link.cut();
  await chat.send({ content: "two" });
  expect(await next(chat)).toMatchObject({ reply: "Received: two" });
  chat.closeSend();
  expect(await next(chat)).toBeUndefined();
  await transport.close();
});
