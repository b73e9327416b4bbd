import type {
  Greeter,
  MessageRequestSchema,
  MessageResponse,
} from "hawser/gen/example/greeter_pb.js";
import {
  type CallState,
  type Client,
  Code,
  ConnectError,
  type Duplex,
  type MessageInitShape,
} from "hawser/web";
import { pause } from "../pause.ts";
import { backoffMs, canRejoin } from "../rooms/client/rejoin.ts";
import { ChatTally } from "./tally.ts";

/** A message of a conversation: a number from 1, and a text that begins with it. */
export interface NumberedMessage {
  readonly number: number;
  readonly content: string;
}

/** What a Conversation tells. */
export interface ConversationEvents {
  /** The reply to the message with this number. */
  onReply(number: number, reply: string): void;
  /** A call is open: the first one, or another after a lost session. */
  onBegin(isFirst: boolean): void;
  /** The session is lost, and another call will begin. `unanswered`: how many messages will be sent again there. */
  onLost(error: ConnectError, unanswered: number): void;
  /** The call has ended for a reason for which another one would end, too. */
  onFailed(error: ConnectError): void;
}

/**
 * A chat with the Greeter. Its session survives lost connections, but lives in one process of the server. When that is gone,
 * another chat begins, with the messages that have no reply: the Greeter may get one of them a second time, but nobody gets a
 * second reply.
 */
export class Conversation {
  readonly tally = new ChatTally();
  readonly #client: Pick<Client<typeof Greeter>, "chat">;
  readonly #events: ConversationEvents;
  #unanswered: NumberedMessage[] = [];
  /** The call to which messages are given: it may still look for a connection. */
  #chat: Duplex<MessageInitShape<typeof MessageRequestSchema>, MessageResponse> | undefined;

  constructor(client: Pick<Client<typeof Greeter>, "chat">, events: ConversationEvents) {
    this.#client = client;
    this.#events = events;
  }

  /** Sends a message, as soon as a call is open. */
  say(text: string): NumberedMessage {
    const number = this.tally.send();
    const message = { number, content: `#${number} ${text}` };
    this.#unanswered.push(message);
    this.#send(message);
    return message;
  }

  /** Chats until the signal aborts, or a call fails for good. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    let begun = 0;
    for (let attempt = 0; !signal.aborted; attempt++) {
      const chat = this.#client.chat({ signal });
      let wasOpen = false;
      const onState = (state: CallState) => {
        if (state !== "open" || wasOpen) return;
        attempt = 0;
        wasOpen = true;
        this.#events.onBegin(begun++ === 0);
      };
      chat.onState(onState);
      // On a connection that is there a call is open at once.
      onState(chat.state);
      this.#chat = chat;
      for (const message of this.#unanswered) this.#send(message);
      try {
        for await (const { reply } of chat) this.#receive(reply);
        throw new ConnectError("the server has ended the chat", Code.Unavailable);
      } catch (thrown) {
        const error = ConnectError.from(thrown);
        this.#chat = undefined;
        if (signal.aborted) return;
        if (!canRejoin(error)) {
          this.#events.onFailed(error);
          return;
        }
        if (wasOpen) this.#events.onLost(error, this.#unanswered.length);
      }
      await pause(backoffMs(attempt), signal).catch(() => {});
    }
  }

  #send({ content }: NumberedMessage): void {
    // If it rejects, the loop over the replies throws the reason.
    this.#chat?.send({ content }).catch(() => {});
  }

  #receive(reply: string): void {
    const [, digits] = /^Received: #(\d+) /.exec(reply) ?? [];
    if (digits === undefined) return;
    const number = Number(digits);
    this.tally.receive(number);
    this.#unanswered = this.#unanswered.filter((message) => message.number > number);
    this.#events.onReply(number, reply);
  }
}
