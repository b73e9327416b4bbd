import type { Greeter } from "hawser/gen/example/greeter_pb.js";
import { type Client, type ConnectError, readSessionLost } from "hawser/web";
import { unfit } from "../rooms/client/typed.ts";
import { Conversation } from "./conversation.ts";
import { byId, grouped, onSubmit } from "./dom.ts";
import { MessageList, messageRow } from "./message-list.ts";
import type { ChatTally } from "./tally.ts";

/** How many messages the button sends, and the time between two of them. */
const MANY = { messages: 100, intervalMs: 20 };

/** Shows a chat with the Greeter. `onChange` is called when its counts change. */
export function showChat(client: Client<typeof Greeter>, onChange: () => void): ChatTally {
  const area = byId("chat-log", HTMLElement);
  const input = byId("chat-text", HTMLInputElement);
  const many = byId("chat-many", HTMLButtonElement);
  const again = byId("chat-again", HTMLButtonElement);
  const list = new MessageList(area);
  /** The messages that have no reply, by their numbers. */
  const waiting = new Map<number, { readonly content: string; readonly remove: () => void }>();
  const conversation = new Conversation(client, {
    onReply(number, reply) {
      const sent = waiting.get(number);
      waiting.delete(number);
      sent?.remove();
      if (sent !== undefined) list.add(messageRow({ name: "You", text: sent.content, own: true }));
      list.add(messageRow({ name: "Greeter", text: reply, own: false }));
      onChange();
    },
    onBegin(isFirst) {
      if (!isFirst) list.remark("A new chat has begun.");
    },
    onLost(error, unanswered) {
      list.remark(`${whyLost(error)} ${unansweredText(unanswered)}`, "loud");
    },
    onFailed(error) {
      list.remark(`The chat has ended: ${error.message}`, "loud");
      again.hidden = false;
    },
  });
  const run = () => {
    again.hidden = true;
    void conversation.run(new AbortController().signal);
  };
  const say = (text: string) => {
    const { number, content } = conversation.say(text);
    const remove = list.wait(messageRow({ name: "You", text: content, own: true }));
    waiting.set(number, { content, remove });
    onChange();
  };
  onSubmit(byId("chat-form", HTMLFormElement), () => {
    const text = input.value;
    const fault = unfit(text);
    if (fault !== undefined) list.remark(`Not sent: ${fault}.`, "loud");
    if (text === "" || fault !== undefined) return;
    input.value = "";
    say(text);
  });
  many.addEventListener("click", () => {
    many.disabled = true;
    // A screen reader would read all of them aloud.
    area.setAttribute("aria-busy", "true");
    let sent = 0;
    const timer = setInterval(() => {
      say(`message ${++sent} of ${MANY.messages}`);
      if (sent < MANY.messages) return;
      clearInterval(timer);
      many.disabled = false;
      area.setAttribute("aria-busy", "false");
    }, MANY.intervalMs);
  });
  again.addEventListener("click", run);
  run();
  return conversation.tally;
}

function whyLost(error: ConnectError): string {
  return readSessionLost(error) === undefined
    ? `The chat has ended: ${error.rawMessage}.`
    : `The session of this chat is lost: ${error.rawMessage.replace(/^the session was lost: /, "")}.`;
}

function unansweredText(unanswered: number): string {
  if (unanswered === 0) return "Every message had its reply.";
  return unanswered === 1
    ? "1 message has no reply, and is sent again in the next chat."
    : `${grouped(unanswered)} messages have no reply, and are sent again in the next chat.`;
}
