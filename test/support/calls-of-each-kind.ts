import type { Greeter } from "../../gen/example/greeter_pb.js";
import type { CallOptions, Client } from "../../src/index.ts";
import { all } from "./read.ts";

/** A call of each of the four kinds, from its request to its end. */
export const callsOfEachKind: Record<
  string,
  (greeter: Client<typeof Greeter>, options?: CallOptions) => Promise<unknown>
> = {
  unary: (greeter, options) => greeter.sayHello({}, options),
  "server streaming": (greeter, options) => all(greeter.subscribe({}, options)),
  "client streaming": (greeter, options) => greeter.collect(options).finish(),
  bidirectional: (greeter, options) => all(greeter.chat(options)),
};
