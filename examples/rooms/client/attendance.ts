import type { MessageInitShape } from "@bufbuild/protobuf";
import { type CallOptions, type Client, Code, ConnectError } from "hawser";
import type {
  JoinRequestSchema,
  JoinResponse,
  RoomService,
  Start,
} from "hawser/gen/chat/v1/room_pb.js";
import { pause } from "../../pause.ts";
import type { ResumingNotes } from "../../terminal/resuming.ts";
import { randomProducer } from "./producer.ts";
import { backoffMs, canRejoin, countdown } from "./rejoin.ts";

type JoinRequest = MessageInitShape<typeof JoinRequestSchema>;

/** say() waits while this many messages are not acknowledged. */
const UNSAID_MESSAGES = 256;

/** A response, and whether it is a message of this member. */
export interface Heard {
  readonly response: JoinResponse;
  readonly own: boolean;
}

/** How a member first joins the room. */
export interface Opening {
  readonly room: string;
  readonly name: string;
  readonly after: string;
  readonly start: Start;
}

export interface AttendanceOptions {
  /** The options of each call of Join. Its `signal` also ends the pauses between the calls. */
  readonly callOptions: CallOptions & { signal: AbortSignal };
  /** Is told when the connection is lost, and when the member is back. */
  readonly notes: ResumingNotes;
}

/**
 * Takes part in a room for longer than one call of Join lasts. A call survives its connections. If
 * it is lost nevertheless (the server was restarted), another call begins after the newest cursor,
 * and sends again, with the same numbers, the messages that were not acknowledged. So no event is
 * skipped or repeated, except `opened`, with which each call begins; and no message is lost or
 * stored twice.
 *
 *     say() ──> unsaid ──> Join ──> the room
 *                 └── said (acknowledged) <──┘
 *
 * An Attendance can be iterated once. The iteration ends when leave() was called and all messages
 * of this member have come back.
 */
export class Attendance implements AsyncIterable<Heard> {
  readonly #client: Pick<Client<typeof RoomService>, "join">;
  readonly #callOptions: AttendanceOptions["callOptions"];
  readonly #opening: Opening;
  readonly #notes: ResumingNotes;
  readonly #producer = randomProducer();
  /** The messages that are not acknowledged, by their sequence, oldest first. */
  readonly #unsaid = new Map<bigint, string>();
  /** The messages that have not come back from the room. */
  readonly #unheard: { sequence: bigint; text: string }[] = [];
  #sequence = 0n;
  #cursor: string;
  #typing = false;
  #leaving = false;
  #over = false;
  #changed = Promise.withResolvers<void>();

  constructor(
    client: Pick<Client<typeof RoomService>, "join">,
    opening: Opening,
    { callOptions, notes }: AttendanceOptions,
  ) {
    this.#client = client;
    this.#opening = opening;
    this.#cursor = opening.after;
    this.#callOptions = callOptions;
    this.#notes = notes;
  }

  /** Takes a message; resolves when it may take another, or the iteration has ended. */
  async say(text: string): Promise<void> {
    this.#sequence += 1n;
    this.#unsaid.set(this.#sequence, text);
    this.#unheard.push({ sequence: this.#sequence, text });
    this.#change();
    while (this.#unsaid.size >= UNSAID_MESSAGES && !this.#over) await this.#changed.promise;
  }

  /** Tells the others that this member is typing. */
  type(): void {
    this.#typing = true;
    this.#change();
  }

  /** Announces that no message follows: the call half-closes when all messages have come back. */
  leave(): void {
    this.#leaving = true;
    this.#change();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Heard, void> {
    const { signal } = this.#callOptions;
    const timeLeft = countdown(this.#callOptions.timeoutMs);
    let opened = false;
    try {
      for (let attempt = 0; ; attempt++) {
        const call = { opened: false, over: false };
        try {
          const responses = this.#client.join(this.#requests(call), {
            ...this.#callOptions,
            timeoutMs: timeLeft(),
          });
          responses.onState((state) => {
            if (state === "resuming") this.#notes.away();
            if (state === "open" && call.opened) this.#notes.back();
          });
          for await (const response of responses) {
            if (!call.opened) this.#notes.back();
            opened = call.opened = true;
            attempt = 0;
            yield { response, own: this.#take(response) };
          }
          this.#endedWell();
          return;
        } catch (error) {
          if (this.#isDone) return;
          if (!opened || !canRejoin(error)) throw error;
          this.#notes.away();
        } finally {
          call.over = true;
          this.#change();
        }
        await pause(backoffMs(attempt), signal);
      }
    } finally {
      this.#over = true;
      this.#change();
    }
  }

  /**
   * The requests of one call: an opening, the messages that are not acknowledged, and
   * those that follow. It waits for the answer before it sends a message, so that the
   * first message comes after the place where the call begins.
   */
  async *#requests(call: { opened: boolean; over: boolean }): AsyncGenerator<JoinRequest> {
    const open = { ...this.#opening, after: this.#cursor, producer: this.#producer };
    yield { event: { case: "open", value: open } };
    let sent = 0n;
    while (!call.opened && !call.over) await this.#changed.promise;
    this.#typing = false;
    while (!call.over) {
      const next = this.#nextUnsaid(sent);
      if (next !== undefined) {
        const [sequence, text] = next;
        sent = sequence;
        this.#typing = false;
        yield { event: { case: "say", value: { sequence, text } } };
      } else if (this.#typing) {
        this.#typing = false;
        yield { event: { case: "typing", value: {} } };
      } else if (this.#isDone) {
        return;
      } else {
        await this.#changed.promise;
      }
    }
  }

  #nextUnsaid(sent: bigint): [bigint, string] | undefined {
    for (const entry of this.#unsaid) if (entry[0] > sent) return entry;
    return undefined;
  }

  /** Whether the response is a message of this member. */
  #take({ cursor, event }: JoinResponse): boolean {
    if (cursor !== "") this.#cursor = cursor;
    if (event.case === "opened") {
      this.#change();
    } else if (event.case === "said") {
      this.#unsaid.delete(event.value.sequence);
      this.#change();
    } else if (event.case === "message") {
      const { name, text } = event.value;
      if (name !== this.#opening.name) return false;
      const at = this.#unheard.findIndex((one) => one.text === text);
      if (at >= 0) this.#unheard.splice(at, 1);
      this.#change();
      return at >= 0;
    } else if (event.case === "gap") {
      // Messages of this member may be in the gap.
      const rest = this.#unheard.filter(({ sequence }) => this.#unsaid.has(sequence));
      this.#unheard.splice(0, Infinity, ...rest);
      this.#change();
    }
    return false;
  }

  /** Whether all messages of this member are stored and have come back from the room, and none follows. */
  get #isDone(): boolean {
    return this.#leaving && this.#unsaid.size === 0 && this.#unheard.length === 0;
  }

  #endedWell(): void {
    if (this.#isDone) return;
    throw new ConnectError(
      `the server ended the call; not known to be stored: ${this.#unsaid.size} messages: ` +
        "its log may say why",
      Code.FailedPrecondition,
    );
  }

  #change(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}
