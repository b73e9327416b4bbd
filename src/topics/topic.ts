import { Code } from "@connectrpc/connect";
import { failure } from "../failure.ts";
import { show } from "../options.ts";

const MOST_BYTES = 320;
const utf8 = new TextEncoder();

/** Throws INVALID_ARGUMENT where a topic cannot have this name: it has 1 to 320 bytes of UTF-8. */
export function checkTopic(topic: string): void {
  if (typeof topic !== "string") {
    throw failure(
      Code.InvalidArgument,
      `the name of the topic is ${show(topic)}: a string is needed`,
    );
  }
  const bytes = utf8.encode(topic).length;
  if (bytes < 1 || bytes > MOST_BYTES) {
    throw failure(
      Code.InvalidArgument,
      `the name of the topic has ${bytes} B: give it 1 to ${MOST_BYTES}`,
    );
  }
  if (!topic.isWellFormed()) {
    throw failure(Code.InvalidArgument, "the name of the topic has half a surrogate pair in it");
  }
}

/** Names of topics in the order of their UTF-8, which is not that of their UTF-16. */
export function inOrder(topics: Iterable<string>): string[] {
  const keyed = Array.from(topics, (topic) => ({ topic, bytes: Buffer.from(topic) }));
  return keyed.sort((a, b) => a.bytes.compare(b.bytes)).map(({ topic }) => topic);
}
