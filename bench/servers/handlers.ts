import type { ServiceImpl } from "@connectrpc/connect";
import type { Greeter } from "../../gen/example/greeter_pb.js";

/**
 * The handlers of Connect's server and of ours, word for word the same. Subscribe sends
 * content of the size that the header bench-size gives, until it is cancelled.
 */
export const handlers: Partial<ServiceImpl<typeof Greeter>> = {
  sayHello: ({ content }) => ({ reply: `Hello, ${content}` }),
  async *chat(requests) {
    for await (const { content } of requests) yield { reply: `Received: ${content}` };
  },
  async *subscribe(_request, context) {
    const content = "x".repeat(Number(context.requestHeader.get("bench-size")));
    while (!context.signal.aborted) yield { content };
  },
};
