import assert from "node:assert/strict";
import { Greeter, type MessageResponse } from "../../gen/example/greeter_pb.js";
import {
  type Client,
  Code,
  ConnectError,
  createClient,
  createTransport,
  type Transport,
  type TransportOptions,
} from "../../src/index.ts";

/** Our client beside a peer that we did not write, whose Greeter has the switches of README.md. */
export interface World extends AsyncDisposable {
  readonly greeter: Client<typeof Greeter>;
  readonly transport: Transport;
  /** A world of the same peer with a separate transport. */
  another(options?: Partial<TransportOptions>): World;
}

export function worldOf(options: TransportOptions): World {
  const transport = createTransport(options);
  return {
    transport,
    greeter: createClient(Greeter, transport),
    another: (more) => worldOf({ ...options, ...more }),
    [Symbol.asyncDispose]: () => transport.close(),
  };
}

export interface Scenario {
  readonly name: string;
  readonly run: (world: World) => Promise<void>;
  /** Features that the scenario needs; not every peer has them. */
  readonly needs?: keyof Capabilities;
}

export interface Capabilities {
  /** Compresses its responses when `x-gzip` asks. */
  gzipResponses: boolean;
  /** Tells the sizes of messages on the wire when `x-wire` asks. */
  wire: boolean;
  /** Counts the time of a deadline in more than 31 bits of milliseconds. */
  longDeadlines: boolean;
  /** The calls of a transport share one connection to the server. */
  oneConnection: boolean;
  /** A call that is not read delays no other call. */
  independentCalls: boolean;
  /** A handler whose requests have not ended learns that its call was cancelled. */
  earlyCancels: boolean;
}

export const EVERYTHING: Capabilities = {
  gzipResponses: true,
  wire: true,
  longDeadlines: true,
  oneConnection: true,
  independentCalls: true,
  earlyCancels: true,
};

export function scenario(
  name: string,
  run: (world: World) => Promise<void>,
  needs?: keyof Capabilities,
): Scenario {
  return { name, run, needs };
}

export function numbered(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `Message ${i}`);
}

export async function read(responses: AsyncIterable<MessageResponse>): Promise<string[]> {
  const replies: string[] = [];
  for await (const { reply } of responses) replies.push(reply);
  return replies;
}

/** Sends the messages while another loop receives, half-closes, and expects each back, in order. */
export async function echo(
  greeter: Client<typeof Greeter>,
  messages: string[],
  options?: Parameters<Client<typeof Greeter>["chat"]>[1],
) {
  const chat = greeter.chat(options);
  const replies = read(chat);
  // If the call fails, send() rejects too.
  replies.catch(() => {});
  for (const content of messages) await chat.send({ content });
  chat.closeSend();
  sameReplies(await replies, messages);
  return chat;
}

export function sameReplies(replies: string[], messages: string[]): void {
  assert.equal(replies.length, messages.length, "the number of replies");
  for (const [i, content] of messages.entries()) {
    // Not assert.equal: its message would hold both texts, whatever their length.
    assert(replies[i] === `Received: ${content}`, `reply ${i} is not the echo of message ${i}`);
  }
}

/** The error of a promise that must reject, with this code. */
export async function rejects(promise: PromiseLike<unknown>, code: Code): Promise<ConnectError> {
  const outcome = await promise.then(
    () => "it resolved",
    (error) => error,
  );
  assert(outcome instanceof ConnectError, `${outcome} is not a ConnectError`);
  assert.equal(Code[outcome.code], Code[code], outcome.message);
  return outcome;
}

/** Asks the server how the call that it holds under `id` ended. */
export async function ask(world: World, id: string, ...outcomes: string[]): Promise<void> {
  const { reply } = await world.greeter.sayHello(
    {},
    { headers: { "x-ask": id }, timeoutMs: 10_000 },
  );
  assert(
    outcomes.includes(reply),
    `the handler saw "${reply}" instead of ${outcomes.join(" or ")}`,
  );
}
