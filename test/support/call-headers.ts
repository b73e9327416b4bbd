import type { HandlerContext } from "../../src/server.ts";

/** A function for the option `headers` that returns a new token each time: "token 1", "token 2" … */
export function tokens(name = "authorization") {
  let count = 0;
  return async () => ({ [name]: `token ${++count}` });
}

/** Handlers of every kind that note the metadata of their calls. */
export function noting() {
  const seen: Headers[] = [];
  const note = ({ requestHeader }: HandlerContext) => {
    seen.push(requestHeader);
    return {};
  };
  const greeter = {
    sayHello: (_: unknown, context: HandlerContext) => note(context),
    collect: async (_: unknown, context: HandlerContext) => note(context),
    async *subscribe(_: unknown, context: HandlerContext) {
      yield note(context);
    },
    async *chat(_: unknown, context: HandlerContext) {
      yield note(context);
    },
  };
  const value = (name: string) => seen.map((headers) => headers.get(name));
  return { seen, greeter, value };
}
