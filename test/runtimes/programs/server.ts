/**
 * The server of `npm run runtimes`: the example Greeter over TCP, TLS and a Unix socket, at the path that is its
 * argument. It prints its addresses, closes at the end of its standard input, and then ends by itself, unless Hawser
 * keeps something open.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { readFileSync } from "node:fs";
import { Greeter } from "hawser/gen/example/greeter_pb.js";
import {
  createServer,
  type HandlerContext,
  type Interceptor,
  type ServerOptions,
  type ServiceImpl,
} from "hawser/server";
import { greeter } from "../../../examples/greeter/handlers.ts";
import type { ServerUrls } from "./messages.ts";

const storage = new AsyncLocalStorage<string>();
const setStorage: Interceptor = (next) => (request) =>
  storage.run("from the interceptor", () => next(request));

/** The value of `x-call` of each streaming call that runs. */
const running = new Set<string>();

async function* noted<T>(context: HandlerContext, responses: AsyncIterable<T>): AsyncGenerator<T> {
  const name = context.requestHeader.get("x-call") ?? "";
  running.add(name);
  try {
    yield* responses;
  } finally {
    running.delete(name);
  }
}

const handlers = {
  ...greeter,
  sayHello({ content }, context) {
    for (const name of ["x-echo", "x-echo-bin"]) {
      const value = context.requestHeader.get(name);
      if (value === null) continue;
      context.responseHeader.set(name, value);
      context.responseTrailer.set(name, value);
    }
    const asked = context.requestHeader.get("x-ask-call");
    if (asked !== null) return { reply: running.has(asked) ? "runs" : "has ended" };
    if (context.requestHeader.has("x-context")) return { reply: storage.getStore() ?? "" };
    return { reply: `Hello, ${content}` };
  },
  chat: (requests, context) => noted(context, greeter.chat(requests, context)),
  subscribe: (request, context) => noted(context, greeter.subscribe(request, context)),
} satisfies ServiceImpl<typeof Greeter>;

const options: ServerOptions = {
  routes: (router) => router.service(Greeter, handlers),
  interceptors: [setStorage],
};
const [, , socket = "", ...pems] = process.argv;
const [cert = "", key = "", ca = ""] = pems.map((path) => readFileSync(path, "utf8"));
const servers = [
  createServer(options),
  createServer({ ...options, tls: { cert, key } }),
  createServer({ ...options, tls: { cert, key, ca }, prefaceTimeoutMs: 3_000 }),
  createServer({
    ...options,
    prefaceTimeoutMs: 3_000,
    http1: { headersTimeoutMs: 3_000, bodyIdleMs: 3_000 },
  }),
  createServer({ ...options, maxConnections: 20, logger: { error() {} } }),
] as const;

process.on("uncaughtException", (error) => console.error("uncaught in the server:", error));
process.on("unhandledRejection", (error) => console.error("unhandled in the server:", error));

const urls: ServerUrls = {
  http: (await servers[0].listen({ port: 0 })).url,
  https: (await servers[1].listen({ port: 0 })).url,
  mutual: (await servers[2].listen({ port: 0 })).url,
  unix: (await servers[3].listen({ path: socket })).url,
  crowded: (await servers[4].listen({ port: 0 })).url,
};
process.stdout.write(`${JSON.stringify(urls)}\n`);
process.stdin.resume().once("end", () => {
  for (const server of servers) void server.close({ graceMs: 0 });
});
