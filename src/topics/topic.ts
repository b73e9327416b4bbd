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
  const bytes = sizeOf(topic);
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

/** The bytes of a name in UTF-8; of a short one the most that they can be, which saves encoding it. */
function sizeOf(topic: string): number {
  const most = topic.length * 3;
  return most <= MAX_BYTES ? most : utf8.encode(topic).length;
}
