import { Code } from "@connectrpc/connect";
import { failure } from "../failure.ts";
import { show } from "../options.ts";

const MAX_BYTES = 320;
const utf8 = new TextEncoder();

/** Throws INVALID_ARGUMENT unless the name is text of 1 to 320 bytes of UTF-8. */
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
 * Compares the names of two topics in the order of their UTF-8, in which TopicLog.topics() returns
 * them: negative if `a` comes before `b`. JavaScript compares by UTF-16, which orders surrogate
 * pairs differently.
 */
export function compareTopics(a: string, b: string): number {
  const shorter = Math.min(a.length, b.length);
  for (let at = 0; at < shorter; at++) {
    const [left, right] = [a.charCodeAt(at), b.charCodeAt(at)];
    if (left !== right) return rank(left) - rank(right);
  }
  return a.length - b.length;
}

/**
 * A half of a surrogate pair belongs to a code point above U+FFFF, so it ranks after every code
 * point of a single unit.
 */
function rank(unit: number): number {
  return unit >= 0xd800 && unit < 0xe000 ? unit + 0x10000 : unit;
}
