/** The messages of the chats, and the checks at their receiver. */
import { mix } from "./dice.ts";

/** Counts of wrong messages; all must be 0. */
export interface Wrongs {
  /** Messages that never arrived, although a later one or the end did. */
  lost: number;
  /** Messages that arrived again. */
  repeated: number;
  /** Messages that arrived after one that was sent later. */
  outOfOrder: number;
  /** Messages of another chat, or with changed content. */
  damaged: number;
}

export const noWrongs = (): Wrongs => ({ lost: 0, repeated: 0, outOfOrder: 0, damaged: 0 });

/** The receiver's view of one direction of a chat: which numbers, from 0, arrived, and which did not. */
export class Sequence {
  readonly #chat: number;
  readonly #wrongs: Wrongs;
  readonly #missing = new Set<number>();
  #next = 0;
  #received = 0;

  constructor(chat: number, wrongs: Wrongs) {
    this.#chat = chat;
    this.#wrongs = wrongs;
  }

  /** How many messages arrived. */
  get received(): number {
    return this.#received;
  }

  take(message: string): void {
    this.#received++;
    const number = Number(message.slice(message.indexOf(" ") + 1, message.indexOf(":")));
    if (message !== messageOf(this.#chat, number)) this.#wrongs.damaged++;
    else if (number >= this.#next) {
      for (let missing = this.#next; missing < number; missing++) this.#missing.add(missing);
      this.#next = number + 1;
    } else if (this.#missing.delete(number)) this.#wrongs.outOfOrder++;
    else this.#wrongs.repeated++;
  }

  /** No more come; `sent` were sent, or the count is not known. */
  end(sent = this.#next): void {
    this.#wrongs.lost += this.#missing.size + Math.max(0, sent - this.#next);
    this.#wrongs.damaged += Math.max(0, this.#next - sent);
  }
}

/** Most are small; some fill a frame; a few are more than the smaller windows of the run. */
export function messageOf(chat: number, number: number): string {
  const random = mix(mix(chat) + number);
  const kind = random % 1000;
  const scale = (random >>> 10) / 2 ** 22;
  let length = 8 + scale * 64;
  if (kind === 0) length = 32_768 + scale * 131_072;
  else if (kind < 30) length = 1024 + scale * 4096;
  return `${chat} ${number}:${padding.slice(0, length)}`;
}

const padding = "the sea does not hold still for a rope to be tied. ".repeat(4096);

/** The handler's final reply: how many requests it received, and how many replies it sent. */
export function finalReply(requests: number, replies: number): string {
  return `end ${requests} ${replies}`;
}

/** Reads the counts of a final reply. Returns `undefined` if the message is not one. */
export function readFinalReply(message: string): { requests: number; replies: number } | undefined {
  const [, requests, replies] = /^end (\d+) (\d+)$/.exec(message) ?? [];
  return requests === undefined
    ? undefined
    : { requests: Number(requests), replies: Number(replies) };
}
