import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";

/**
 * The runner's messages on stdin, each after its length in four bytes, until the runner closes it.
 * Several readers may share one iterable: each message goes to one of them.
 */
export async function* readMessages<Desc extends DescMessage>(
  schema: Desc,
): AsyncGenerator<MessageShape<Desc>> {
  let unread = Buffer.alloc(0);
  for await (const chunk of process.stdin) {
    unread = Buffer.concat([unread, chunk]);
    while (unread.length >= 4) {
      const end = 4 + unread.readUInt32BE(0);
      if (unread.length < end) break;
      yield fromBinary(schema, unread.subarray(4, end));
      unread = unread.subarray(end);
    }
  }
  if (unread.length > 0) throw new Error(`stdin ended inside a message, after ${unread.length} B`);
}

/** Answers the runner. Messages of concurrent calls are not interleaved. */
export function writeMessage<Desc extends DescMessage>(
  schema: Desc,
  init: MessageInitShape<Desc>,
): void {
  const body = toBinary(schema, create(schema, init));
  const prefix = Buffer.alloc(4);
  prefix.writeUInt32BE(body.length);
  process.stdout.write(Buffer.concat([prefix, body]));
}
