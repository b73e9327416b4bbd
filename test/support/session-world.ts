import { expect } from "vitest";
import type { SessionLost } from "../../gen/hawser/v1/session_pb.js";
import { readSessionLost } from "../../src/index.ts";
import {
  type AuthenticationRequest,
  ConnectError,
  type HandlerContext,
  type SessionOptions,
} from "../../src/server.ts";
import { aborted, gate } from "./gate.ts";
import { failureOf } from "./read.ts";
import { type Attached, end, type SessionPeer, sessionPeer } from "./session-peer.ts";
import { type Setup, start, type World } from "./world.ts";

/** A run of a handler. */
export interface Run {
  readonly context: HandlerContext;
  /** The requests that it took. */
  readonly requests: string[];
  /** How the requests ended. "half-closed" is the only clean end. */
  end: "running" | "half-closed" | ConnectError;
}

/** An attachment that the server was asked for. */
export interface Asked {
  readonly session: string;
  readonly attach: number;
  readonly cancel: boolean;
  /** The window of the client, as it is on the wire. */
  readonly window: string;
}

/** A world whose server notes the requests of its handlers, and the attachments that arrive. */
export interface SessionWorld extends World {
  readonly runs: Run[];
  /** All attachments whose callers the server authenticates, those that were refused included. */
  readonly asked: Asked[];
  /** A client that writes bytes, past the link; closed with the world. */
  peer(): Promise<SessionPeer>;
}

export interface SessionSetup extends Omit<Setup, "server"> {
  sessions?: false | SessionOptions;
  server?: Omit<NonNullable<Setup["server"]>, "sessions" | "authenticate">;
  /** The identity of a caller; `false`: the server does not authenticate. Default: the credentials of the caller. */
  identify?: false | ((request: AuthenticationRequest) => string | Promise<string>);
}

const byCredentials = ({ header, peer }: AuthenticationRequest) =>
  `of ${header.get("authorization")} ${peer.certificate?.fingerprint256}`;

/**
 * Starts a world with sessions. Unless told otherwise, Chat sends each request back, and Collect counts them. A Chat
 * with the header `x-hold` is not over with its requests, but when its signal aborts.
 */
export async function sessionWorld(setup: SessionSetup = {}): Promise<SessionWorld> {
  const { sessions, server, greeter, identify = byCredentials, ...rest } = setup;
  const runs: Run[] = [];
  const asked: Asked[] = [];
  const peers: SessionPeer[] = [];
  const authenticate = (request: AuthenticationRequest) => {
    const { header } = request;
    if (header.has("hawser-session")) {
      asked.push({
        session: String(header.get("hawser-session")),
        attach: Number(header.get("hawser-attach")),
        cancel: header.has("hawser-cancel"),
        window: String(header.get("hawser-window")),
      });
    }
    const identity = (identify || byCredentials)(request);
    if (typeof identity === "string") return { identity };
    return identity.then((identity) => ({ identity }));
  };
  const world = await start({
    ...rest,
    greeter: {
      sayHello: ({ content }) => ({ reply: content }),
      async *chat(requests, context) {
        for await (const content of noted(runs, requests, context)) yield { reply: content };
        if (context.requestHeader.has("x-hold")) await aborted(context.signal);
      },
      async collect(requests, context) {
        let count = 0;
        for await (const _ of noted(runs, requests, context)) count++;
        return { count };
      },
      async *subscribe({ count }, context) {
        runs.push({ context, requests: [], end: "half-closed" });
        for (let sequence = 1n; sequence <= count; sequence++) yield { sequence };
      },
      ...greeter,
    },
    server: {
      ...server,
      sessions: sessions ?? {},
      ...(identify === false ? {} : { authenticate }),
    },
  });
  const port = Number(new URL(world.url).port);
  // Not copied: `link` is a getter that may throw.
  return Object.create(world, {
    runs: { value: runs },
    asked: { value: asked },
    peer: {
      value: async () => {
        const peer = await sessionPeer(port);
        peers.push(peer);
        return peer;
      },
    },
    [Symbol.asyncDispose]: {
      value: async () => {
        for (const peer of peers) await peer[Symbol.asyncDispose]();
        await world[Symbol.asyncDispose]();
      },
    },
  }) as SessionWorld;
}

/** The texts of the requests; what the handler sees of them is added to `runs`. */
export async function* noted(
  runs: Run[],
  requests: AsyncIterable<{ content: string }>,
  context: HandlerContext,
): AsyncGenerator<string> {
  const run: Run = { context, requests: [], end: "running" };
  runs.push(run);
  try {
    for await (const { content } of requests) {
      run.requests.push(content);
      yield content;
    }
    run.end = "half-closed";
  } catch (error) {
    run.end = ConnectError.from(error);
    throw error;
  }
}

/** Why the session of a call was lost; fails the test if the call ends in another way. */
export async function lossOf(
  what: PromiseLike<unknown> | AsyncIterable<object>,
): Promise<SessionLost & { error: ConnectError }> {
  const error = await failureOf(what);
  const lost = readSessionLost(error);
  if (lost === undefined) throw new Error(`no SessionLost: ${error.message}`, { cause: error });
  return Object.assign(lost, { error });
}

/** A handler that yields the replies that the test gives it, one at a time. */
export function puppet() {
  const replies: string[] = [];
  let more = gate();
  let over = false;
  return {
    /** Has the handler yield these. */
    say(...texts: string[]) {
      replies.push(...texts);
      more.open();
    },
    /** Has the handler return when it has yielded all replies. */
    leave() {
      over = true;
      more.open();
    },
    async *chat(_requests: unknown, { signal }: HandlerContext) {
      const stop = () => more.open();
      signal.addEventListener("abort", stop);
      while (!signal.aborted) {
        const reply = replies.shift();
        if (reply !== undefined) yield { reply };
        else if (over) return;
        else {
          more = gate();
          await more.opened;
        }
      }
      throw signal.reason;
    },
  };
}

/** Half-closes a Chat in which `sent` messages were sent, and confirms its end. */
export async function finish(attached: Attached, sent: number): Promise<void> {
  attached.send(end(sent));
  expect(await attached.ended()).toMatchObject({ status: 0, lost: undefined });
  attached.halfClose();
}
