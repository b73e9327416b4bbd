import { Code, ConnectError, type Duplex } from "hawser";
import type { Speaker } from "./prompt.ts";

export interface ConverseOptions<Req, Res> {
  /** Makes the request of a message of the speaker; `undefined` if the message is not to be sent. May throw. */
  readonly requestOf: (message: string) => Req | undefined;
  readonly print: (response: Res) => Promise<void>;
}

/**
 * Sends every message of the speaker, and prints the responses at the same time; neither waits for the other. Half-closes
 * after the last message and reads to the end. Resolves with the number of messages sent.
 */
export async function converse<Req, Res>(
  call: Duplex<Req, Res>,
  speaker: Speaker,
  { requestOf, print }: ConverseOptions<Req, Res>,
): Promise<number> {
  const closed = new AbortController();
  let sentAll = false;
  let sent = 0;

  const listen = async () => {
    try {
      for await (const response of call) await print(response);
    } finally {
      closed.abort();
    }
  };
  const speak = async () => {
    try {
      for await (const message of speaker.messages(closed.signal)) {
        const request = requestOf(message);
        if (request === undefined) continue;
        const isSent = await call.send(request).then(
          () => true,
          () => false,
        );
        // The call has ended: listen() throws the reason.
        if (!isSent) return;
        sent++;
      }
    } catch (error) {
      call.cancel(error);
      throw error;
    }
    if (closed.signal.aborted) return;
    sentAll = true;
    call.closeSend();
  };

  const [listened, spoke] = await Promise.allSettled([listen(), speak()]);
  if (spoke.status === "rejected") throw spoke.reason;
  if (listened.status === "rejected") throw listened.reason;
  if (sentAll) return sent;
  throw new ConnectError(
    "the server ended the call before the last message was sent: its log may say why",
    Code.FailedPrecondition,
  );
}
