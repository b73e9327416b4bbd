/** Calls of all kinds, for tests of observers. */
import { all } from "./read.ts";
import type { World } from "./world.ts";

export const echo = {
  sayHello: ({ content }: { content: string }) => ({ reply: content }),
  async collect(requests: AsyncIterable<object>) {
    let count = 0;
    for await (const _ of requests) count++;
    return { count };
  },
  async *subscribe({ count }: { count: number }) {
    for (let sequence = 1n; sequence <= count; sequence++) yield { sequence };
  },
  async *chat(requests: AsyncIterable<{ content: string }>) {
    for await (const { content } of requests) yield { reply: content };
  },
};

export async function* three() {
  for (const content of ["a", "b", "c"]) yield { content };
}

/** A call of each kind, with how many requests and responses it has. */
export const calls: Record<
  string,
  [requests: number, responses: number, (world: World) => unknown]
> = {
  SayHello: [1, 1, ({ greeter }) => greeter.sayHello({ content: "Ada" })],
  Subscribe: [1, 3, ({ greeter }) => all(greeter.subscribe({ count: 3 }))],
  Collect: [3, 1, ({ greeter }) => greeter.collect(three())],
  Chat: [3, 3, ({ greeter }) => all(greeter.chat(three()))],
};
