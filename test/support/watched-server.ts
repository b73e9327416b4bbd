import { expect } from "vitest";
import { Greeter } from "../../gen/example/greeter_pb.js";
import { ConnectError, createServer, type HandlerContext } from "../../src/server.ts";
import { census } from "./census.ts";
import { aborted, until } from "./gate.ts";
import { message, request, requestHeaders, text } from "./request.ts";
import { data, dial, messages, type Peer, type PeerOptions } from "./wire.ts";

export { message, request, requestHeaders, text };

/** The events of a call that its handler saw. */
export interface Seen {
  readonly context: HandlerContext;
  /** The requests that it read. */
  readonly requests: string[];
  /** How the requests ended. "half-closed" is the only clean end. */
  end: "running" | "half-closed" | ConnectError;
  /** Whether the signal was aborted at that moment. */
  abortedAtEnd: boolean;
}

/**
 * Our server, with handlers that note what they saw. The request header `x-handler: idle` gets a handler that reads
 * nothing and waits for its signal.
 */
export interface WatchedServer extends AsyncDisposable {
  readonly port: number;
  readonly server: ReturnType<typeof createServer>;
  readonly calls: Seen[];
  /** The errors that the server has logged. */
  readonly logged: unknown[][];
  /** A new connection; it is closed with the server. */
  dial(options?: PeerOptions): Promise<Peer>;
  /** Expects that a call on a new connection is served. */
  expectServed(): Promise<void>;
  /** Resolves when no stream is open and no handler runs. */
  idle(): Promise<void>;
}

export async function watchedServer(
  options: Omit<Parameters<typeof createServer>[0], "routes"> = {},
): Promise<WatchedServer> {
  const calls: Seen[] = [];
  const logged: unknown[][] = [];
  const peers: Peer[] = [];
  const openBefore = census.serverStreams;
  const log = (...words: unknown[]) => void logged.push(words);

  async function* echo(requests: AsyncIterable<{ content: string }>, context: HandlerContext) {
    const seen: Seen = { context, requests: [], end: "running", abortedAtEnd: false };
    calls.push(seen);
    try {
      if (context.requestHeader.get("x-handler") === "idle") {
        await aborted(context.signal);
        throw context.signal.reason;
      }
      for await (const { content } of requests) {
        seen.requests.push(content);
        yield { reply: content };
      }
      seen.end = "half-closed";
    } catch (error) {
      seen.end = ConnectError.from(error);
      throw error;
    } finally {
      seen.abortedAtEnd = context.signal.aborted;
      if (seen.end === "running") seen.end = new ConnectError("the handler was told to return");
    }
  }

  const server = createServer({
    // Peers of tests ping to learn that all was read.
    minPingIntervalMs: 0,
    ...options,
    logger: { error: log },
    routes: (router) =>
      router.service(Greeter, {
        sayHello: ({ content }) => ({ reply: content }),
        chat: echo,
        async collect(requests, context) {
          let count = 0;
          for await (const _ of echo(requests, context)) count++;
          return { count };
        },
        async *subscribe({ count }) {
          for (let sequence = 1n; sequence <= count; sequence++) yield { sequence };
        },
      }),
  });
  const { port } = await server.listen({ port: 0 });

  const world: WatchedServer = {
    port: port as number,
    server,
    calls,
    logged,
    async dial(options) {
      const peer = await dial(world.port, options);
      peers.push(peer);
      return peer;
    },
    async expectServed() {
      await using peer = await dial(world.port);
      peer.write(request(1, "SayHello"), data(1, message("are you there?"), true));
      const reply = await peer.ended(1);
      expect(reply.status, reply.message).toBe(0);
      expect(messages(reply.body)).toEqual([messages(message("are you there?"))[0]]);
    },
    async idle() {
      await until("no stream is open on the server", () => census.serverStreams <= openBefore);
      await until("no handler runs", () => calls.every(({ end }) => end !== "running"));
    },
    async [Symbol.asyncDispose]() {
      for (const peer of peers) await peer[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
      await world.idle();
    },
  };
  return world;
}

/** Starts a Chat on stream 1, which must continue while other streams of its connection fail. */
export async function otherCall(peer: Peer): Promise<{ stillWorks(): Promise<void> }> {
  peer.write(request(1, "Chat"), data(1, message("before")));
  const call = peer.stream(1);
  await peer.until(() => call.bytes === message("before").length);
  return {
    async stillWorks() {
      peer.write(data(1, message("after"), true));
      const { status, body } = await peer.ended(1);
      expect(status).toBe(0);
      expect(body).toEqual(Buffer.concat([message("before"), message("after")]));
    },
  };
}
