import { Code } from "@connectrpc/connect";
import { failure } from "../failure.ts";
import { show } from "../options.ts";

const MAX_BYTES = 320;
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
  if (bytes < 1 || bytes > MAX_BYTES) {
    throw failure(
      Code.InvalidArgument,
      `the name of the topic has ${bytes} B: give it 1 to ${MAX_BYTES}`,
    );
  }
  if (!topic.isWellFormed()) {
    throw failure(Code.InvalidArgument, "the name of the topic has half a surrogate pair in it");
  }
}

/**
 * Compares the names of two topics in the order in which TopicLog.topics() gives them, which is that of their UTF-8, and
 * so of their code points: negative where `a` comes before `b`. Text in JavaScript compares by its UTF-16.
 */
export function compareTopics(a: string, b: string): number {
  const shorter = Math.min(a.length, b.length);
  for (let at = 0; at < shorter; at++) {
    const [left, right] = [a.charCodeAt(at), b.charCodeAt(at)];
    if (left !== right) return rank(left) - rank(right);
  }
  return a.length - b.length;
}

/** Half of a surrogate pair is of a code point above U+FFFF, and so after every code point of a single unit. */
function rank(unit: number): number {
  return unit >= 0xd800 && unit < 0xe000 ? unit + 0x10000 : unit;
}
