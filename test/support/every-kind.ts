import type { HandlerContext } from "../../src/server.ts";

/** Handlers of every kind that answer once, with what `answer` makes of the call. */
export function everyKind<T extends object>(answer: (context: HandlerContext) => T) {
  return {
    sayHello: (_: unknown, context: HandlerContext) => answer(context),
    collect: async (_: unknown, context: HandlerContext) => answer(context),
    async *subscribe(_: unknown, context: HandlerContext) {
      yield answer(context);
    },
    async *chat(_: unknown, context: HandlerContext) {
      yield answer(context);
    },
  };
}
