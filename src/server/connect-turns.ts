/** Has the requests of Connect's handlers take turns with other work, as the pumps of gRPC calls do. */
import type { Interceptor } from "@connectrpc/connect";
import { Share, slices } from "../flow/slice.ts";

/** The requests of streaming calls wait for a later slice when the one of this turn has lasted. */
export const inTurns: Interceptor = (next) => (request) =>
  next(request.stream ? { ...request, message: paced(request.message) } : request);

/** A chunk that a client has sent may have thousands of messages, which Connect's handlers read in microtasks. */
async function* paced<T>(messages: AsyncIterable<T>): AsyncGenerator<T> {
  const share = new Share();
  for await (const message of messages) {
    if (share.countMessage()) await slices.next();
    yield message;
  }
}
