import { connectionOptions } from "../examples/terminal/call.ts";
import { option, Unreadable } from "../examples/terminal/parameter.ts";
import type { MethodName } from "./contract.ts";

const { url: _, ...withoutUrl } = connectionOptions;

/** The options of the commands that call a server whose URL is an argument. */
export const callOptions = {
  proto: option(
    "<directory>",
    "compile the contract there with buf (default: ask the server's reflection)",
  ),
  ...withoutUrl,
};

/** Reads `example.Greeter/Chat`. */
export function readMethodName(text: string): MethodName {
  const [, service, method] = /^\/?([\w.]+)\/(\w+)$/.exec(text) ?? [];
  if (service !== undefined && method !== undefined) return { service, method };
  throw new Unreadable("write SERVICE/METHOD, such as example.Greeter/Chat; hawser list has them");
}
