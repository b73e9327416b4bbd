/** The chats of the sessions' soak, seen from the client: each is planned by dice, checked, and followed by another. */
import { setTimeout as pause } from "node:timers/promises";
import type { Greeter } from "../../gen/example/greeter_pb.js";
import { type Client, Code, ConnectError } from "../../src/index.ts";
import type { Dice } from "./dice.ts";
import { messageOf, noWrongs, readFinalReply, Sequence } from "./sequence.ts";

/** A chat that neither sends nor receives for this time hangs. */
const HANG_MS = 45_000;

/** The counts of all chats of a run. */
export class Tally {
  readonly wrongs = noWrongs();
  /** Chats that ended as planned. */
  ended = 0;
  /** Those of them that were cancelled. */
  cancelled = 0;
  /** Chats that could not begin, because there was no connection: they have no session yet, and were begun again. */
  unbegun = 0;
  /** The count of replies that arrived. */
  received = 0;
  /** How often a chat continued over another connection. */
  resumed = 0;
  readonly failures: string[] = [];
  #last = 0;

  nextChat(): number {
    return ++this.#last;
  }

  /** How many chats were begun. */
  get begun(): number {
    return this.#last;
  }
}

/** The plan of a chat: the numbers are counts of messages. */
interface Plan {
  readonly requests: number;
  /** The count of replies that the handler sends, whatever it receives. 0: one for each request. */
  readonly push: number;
  /** The count of requests after which the handler ends the call, while the client continues. 0: it does not. */
  readonly endAfter: number;
  /** The client cancels instead of half-closing. */
  readonly cancelled: boolean;
  /** The reader rests now and then, so that windows fill. */
  readonly dozy: boolean;
}

function plan(dice: Dice): Plan {
  const requests = dice.between(20, 1500);
  const kind = dice.float();
  return {
    requests,
    push: kind < 0.3 ? dice.between(1, 1500) : 0,
    endAfter: kind > 0.9 ? dice.between(1, requests) : 0,
    cancelled: kind > 0.3 && kind < 0.35,
    dozy: dice.chance(0.2),
  };
}

/** Has one chat after another until `stopped`, or until something went wrong. */
export async function chatOn(
  greeter: Client<typeof Greeter>,
  { dice, tally }: { dice: Dice; tally: Tally },
  stopped: () => boolean,
): Promise<void> {
  while (!stopped() && tally.failures.length === 0) {
    const id = tally.nextChat();
    const planned = plan(dice);
    try {
      await new Chat(greeter, { id, plan: planned, tally }).run(dice);
      tally.ended++;
      if (planned.cancelled) tally.cancelled++;
    } catch (error) {
      if (error instanceof Unbegun) {
        tally.unbegun++;
        await pause(50);
      } else tally.failures.push(`chat ${id} ${JSON.stringify(planned)}: ${error}`);
    }
  }
}

/** A chat that failed before it had a session. */
class Unbegun extends Error {}

class Chat {
  readonly #plan: Plan;
  readonly #id: number;
  readonly #tally: Tally;
  readonly #call;
  readonly #replies: Sequence;
  #sent = 0;
  #livedAt = performance.now();

  constructor(
    greeter: Client<typeof Greeter>,
    { id, plan, tally }: { id: number; plan: Plan; tally: Tally },
  ) {
    this.#id = id;
    this.#plan = plan;
    this.#tally = tally;
    this.#replies = new Sequence(id, tally.wrongs);
    const headers = new Headers({ "x-chat": String(id) });
    if (plan.push > 0) headers.set("x-push", String(plan.push));
    if (plan.endAfter > 0) headers.set("x-end-after", String(plan.endAfter));
    if (plan.cancelled) headers.set("x-cancelled", "yes");
    this.#call = greeter.chat({ headers });
  }

  async run(dice: Dice): Promise<void> {
    let wasLost = false;
    const counting = this.#call.onState((state) => {
      if (state === "open" && wasLost) this.#tally.resumed++;
      wasLost = state === "resuming";
    });
    const hung = Promise.withResolvers<never>();
    const watching = setInterval(() => {
      if (performance.now() - this.#livedAt > HANG_MS) hung.reject(new Error(this.#standing()));
    }, 1000);
    try {
      await Promise.race([hung.promise, Promise.all([this.#send(), this.#read(dice)])]);
      if (!this.#call.resumable) throw new Error("it had no session");
    } catch (error) {
      const { code } = ConnectError.from(error);
      if (code === Code.Unavailable && !this.#call.resumable) throw new Unbegun();
      throw error;
    } finally {
      clearInterval(watching);
      counting[Symbol.dispose]();
      this.#call.cancel();
    }
  }

  /** How far it has come. */
  #standing(): string {
    const { state } = this.#call;
    return `it hangs, ${state}, after ${this.#sent} requests and ${this.#replies.received} replies`;
  }

  async #send(): Promise<void> {
    const { requests, endAfter, cancelled } = this.#plan;
    try {
      while (this.#sent < requests || endAfter > 0) {
        const content = messageOf(this.#id, this.#sent);
        await this.#call.send({ content });
        this.#sent++;
        this.#livedAt = performance.now();
      }
    } catch (error) {
      const { code } = ConnectError.from(error);
      if (endAfter > 0 && code === Code.FailedPrecondition) return;
      throw error;
    }
    if (cancelled) this.#call.cancel();
    else this.#call.closeSend();
  }

  async #read(dice: Dice): Promise<void> {
    const { push, endAfter, cancelled, dozy } = this.#plan;
    let finalReply: { requests: number; replies: number } | undefined;
    try {
      for await (const { reply } of this.#call) {
        this.#tally.received++;
        this.#livedAt = performance.now();
        if (finalReply !== undefined) throw new Error("a reply came after the final one");
        finalReply = readFinalReply(reply);
        if (finalReply === undefined) this.#replies.take(reply);
        if (dozy && dice.chance(0.01)) await pause(dice.between(1, 20));
      }
    } catch (error) {
      if (!cancelled || ConnectError.from(error).code !== Code.Canceled) throw error;
      this.#replies.end();
      return;
    }
    if (finalReply === undefined) throw new Error("the chat ended without its final reply");
    this.#replies.end(finalReply.replies);
    const requests = endAfter > 0 ? endAfter : this.#sent;
    const replies = push > 0 ? push : requests;
    this.#tally.wrongs.lost += Math.max(0, requests - finalReply.requests);
    if (finalReply.requests !== requests || finalReply.replies !== replies) {
      throw new Error(
        `the handler had ${finalReply.requests} requests of ${requests}, and gave ${finalReply.replies} replies of ${replies}`,
      );
    }
  }
}
