import type { ServiceImpl } from "@connectrpc/connect";
import type { Greeter } from "../../gen/example/greeter_pb.js";

/**
 * The handlers of Connect's server and of Hawser's, which are identical. The content of a Subscribe message has the number
 * of bytes in the header bench-size.
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
