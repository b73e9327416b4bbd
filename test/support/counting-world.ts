import { connect } from "node:net";
import { expect } from "vitest";
import { Greeter } from "../../gen/example/greeter_pb.js";
import type { ConnectRouter, HandlerContext, ServiceImpl } from "../../src/server.ts";
import { startWorld, type WorldOptions } from "../../src/testing.ts";
import { settles } from "./gate.ts";
import { next } from "./read.ts";
import { leftSince, resources, takeStrays } from "./world.ts";

/** A service whose handlers are counted: Chat answers each request with its number in the call. */
export function counting() {
  const contexts: HandlerContext[] = [];
  const handlers: Partial<ServiceImpl<typeof Greeter>> = {
    sayHello: ({ content }) => ({ reply: content }),
    async *chat(requests, context) {
      contexts.push(context);
      let count = 0;
      for await (const { content } of requests) yield { reply: `${++count}: ${content}` };
    },
  };
  return { contexts, routes: (router: ConnectRouter) => router.service(Greeter, handlers) };
}

/** A world of that service. Its disposal fails the test if a stream, socket or timer is still open. */
export async function countingWorld(options: Omit<WorldOptions, "routes"> = {}) {
  const { contexts, routes } = counting();
  const before = resources();
  const world = await startWorld({ routes, ...options });
  return {
    world,
    link: world.link,
    server: world.server,
    greeter: world.client(Greeter),
    contexts,
    async [Symbol.asyncDispose]() {
      await world[Symbol.asyncDispose]();
      await settles(() => leftSince(before).length === 0);
      expect.soft([...leftSince(before), ...takeStrays()], "resources left open").toEqual([]);
    },
  };
}

export type CountingWorld = Awaited<ReturnType<typeof countingWorld>>;

/** A Chat that has had its first response. */
export async function chatting({ greeter }: Pick<CountingWorld, "greeter">, sessions = true) {
  const chat = greeter.chat({ sessions });
  await chat.send({ content: "a" });
  expect(await next(chat)).toMatchObject({ reply: "1: a" });
  return chat;
}

export async function elapsedMs(what: Promise<unknown>): Promise<number> {
  const began = performance.now();
  await what;
  return performance.now() - began;
}

/** A connection to the server itself, past the link. */
export function dial({ url }: { url: string }) {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  const end = { socket, error: "", bytes: 0 };
  socket.on("data", (bytes) => {
    end.bytes += bytes.length;
  });
  socket.on("error", (error: NodeJS.ErrnoException) => {
    end.error = error.code ?? "";
  });
  return end;
}
