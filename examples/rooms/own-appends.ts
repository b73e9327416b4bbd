import { caller, type HandlerContext } from "hawser/server";
import type { TopicLog } from "hawser/topics";

/**
 * Returns a log that appends for the caller of a call: its identity, or else its address. Callers that post much take turns with
 * others at the disk.
 */
export function ownAppends(log: TopicLog, context: HandlerContext): Pick<TopicLog, "append"> {
  const { identity, peer } = caller(context);
  const owner = identity ?? peer.address ?? peer;
  return { append: (topic, records) => log.append(topic, records, { owner }) };
}
