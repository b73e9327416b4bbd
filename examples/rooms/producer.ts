import { createHash } from "node:crypto";
import { caller, type HandlerContext } from "hawser/server";

/**
 * Returns a function that makes the id by which the log recognises repeated messages, from the producer that a request names.
 * A producer belongs to its caller: another one that uses the same text makes no message of the first a repeat. If the server
 * authenticates nobody, the text alone counts, and clients take a random one that others cannot guess.
 */
export function producersOf(context: HandlerContext): (producer: string) => string {
  const { identity } = caller(context);
  if (identity === undefined) return (producer) => producer;
  let last = { producer: "", id: "" };
  return (producer) => {
    if (producer !== last.producer || last.id === "") {
      const owned = JSON.stringify([identity, producer]);
      last = { producer, id: createHash("sha256").update(owned).digest("base64url") };
    }
    return last.id;
  };
}
