/** A chat that sends for as long as a scenario lasts, and gets each message back. */
import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import type { SessionLost } from "../../gen/hawser/v1/session_pb.js";
import { type Duplex, readSessionLost } from "../../src/index.ts";
import { until } from "../support/gate.ts";
import { numbered, sameReplies, type World } from "./world.ts";

/**
 * Sends until it is stopped or its session is lost. Whether or not the session is lost, the replies must be whole and
 * in order up to the end.
 */
export class Chatter {
  /** The server gets it as metadata `x-chat`. */
  readonly name: string;
  readonly chat: Duplex<{ content: string }, { reply: string }>;
  readonly replies: string[] = [];
  /** Resolves at the end of the chat, with the reason if its session was lost. */
  readonly ended: Promise<SessionLost | undefined>;
  /** How often its session continued on another connection. */
  resumes = 0;
  /** The leading metadata `x-server`, once the first reply has come; "" if the server sends none. */
  server: string | undefined;
  #sent = 0;
  #stopped = false;

  /** @param burst messages before each pause of 2 ms */
  constructor(greeter: World["greeter"], name: string, burst = 1) {
    this.name = name;
    this.chat = greeter.chat({ headers: { "x-chat": name } });
    this.chat.onState((state) => {
      if (state === "resuming") this.resumes++;
    });
    this.ended = this.#run(burst);
    this.ended.catch(() => {});
  }

  /** The messages that it has sent. */
  get sent(): string[] {
    return numbered(this.#sent);
  }

  /** Resolves when `count` more replies have come. */
  async receives(count: number): Promise<void> {
    const wanted = this.replies.length + count;
    const received = until(
      `${this.name} got ${count} more replies`,
      () => this.replies.length >= wanted,
      15_000,
    );
    const lost = await Promise.race([received, this.ended]);
    assert(!lost, `the session of ${this.name} is lost`);
  }

  /** Half-closes. Resolves when the reply to every message has come. */
  async stop(): Promise<void> {
    this.#stopped = true;
    assert.equal(await this.ended, undefined, `the session of ${this.name} is lost`);
  }

  async #run(burst: number): Promise<SessionLost | undefined> {
    const sending = this.#send(burst);
    // If it rejects, so does the loop.
    sending.catch(() => {});
    let lost: SessionLost | undefined;
    try {
      for await (const { reply } of this.chat) {
        if (this.replies.push(reply) > 1) continue;
        this.server = (await this.chat.headers).get("x-server") ?? "";
      }
      await sending;
    } catch (error) {
      lost = readSessionLost(error);
      if (lost === undefined) throw error;
      assert(Number(lost.arrived) <= this.#sent, `${lost.arrived} of ${this.#sent} arrived`);
    }
    sameReplies(this.replies, lost === undefined ? this.sent : numbered(this.replies.length));
    return lost;
  }

  async #send(burst: number): Promise<void> {
    while (!this.#stopped) {
      await this.chat.send({ content: `Message ${this.#sent++}` });
      if (this.#sent % burst === 0) await pause(2);
    }
    this.chat.closeSend();
  }
}
