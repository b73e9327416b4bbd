/**
 * Calls in sessions (proto/hawser/v1/session.proto) that use little CPU: each has one attachment, whose messages are counted
 * and acknowledged. A lost connection loses the call.
 */
import { randomBytes } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  NegotiateRequestSchema,
  NegotiateResponseSchema,
} from "../../../gen/hawser/v1/session_pb.js";
import { endControl, receivedControl } from "../../../src/session/control.ts";
import { type Ask, writeAsk } from "../../../src/session/headers.ts";
import { DEFAULT_WINDOW } from "../../../src/session/session-window.ts";
import { type Call, type CallOwner, Connection } from "./connection.ts";

/** A client acknowledges what its application took at most this long ago, as Hawser's client does. */
const ACKNOWLEDGE_MS = 50;

/** The prefix of a gRPC message. */
const PREFIX_BYTES = 5;

/** The attachment of a session. */
class Attachment {
  readonly session = randomBytes(16).toString("hex");
  readonly connection: Connection;
  call!: Call;
  received = 0;
  #acknowledged = 0;

  constructor(connection: Connection) {
    this.connection = connection;
  }

  acknowledge(): void {
    if (this.received === this.#acknowledged) return;
    this.#acknowledged = this.received;
    this.call.sendControl(receivedControl(this.received));
  }
}

/** The sessions of a process at one server. */
export class Sessions {
  readonly #epoch: string;
  readonly #serverAheadMs: number;
  readonly #attachments: Attachment[] = [];
  readonly #timer = setInterval(() => {
    for (const attachment of this.#attachments) attachment.acknowledge();
  }, ACKNOWLEDGE_MS);

  private constructor(epoch: string, serverAheadMs: number) {
    this.#epoch = epoch;
    this.#serverAheadMs = serverAheadMs;
  }

  /** Asks the server for its settings. */
  static async at(address: string): Promise<Sessions> {
    const answered = Promise.withResolvers<Uint8Array>();
    const path = "/hawser.v1.SessionService/Negotiate";
    const connection = new Connection(address, path, answered.reject);
    const message = toBinary(NegotiateRequestSchema, create(NegotiateRequestSchema));
    const received: number[] = [];
    connection.open(
      { message, isLast: true },
      {
        onMessages() {},
        onBytes: (bytes) => received.push(...bytes),
        onEnd: () => answered.resolve(Uint8Array.from(received.slice(PREFIX_BYTES))),
      },
    );
    const { epoch, nowMs } = fromBinary(NegotiateResponseSchema, await answered.promise);
    connection.close();
    return new Sessions(epoch, Number(nowMs) - performance.now());
  }

  /** Opens a call with one request. */
  open(connection: Connection, message: Uint8Array, owner: CallOwner): void {
    const attachment = new Attachment(connection);
    const openedMs = performance.now() + this.#serverAheadMs;
    const headers = this.#ask(attachment, { attach: 1, openedMs, cancel: false });
    attachment.call = connection.open(
      { message, isLast: false, headers },
      {
        onMessages(count) {
          attachment.received += count;
          owner.onMessages(count);
        },
        onEnd: () => owner.onEnd?.(),
      },
    );
    attachment.call.sendControl(endControl(1));
    this.#attachments.push(attachment);
  }

  /** Cancels all sessions: the server would keep them, and messages for them. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#attachments.map((attachment) => this.#cancel(attachment)));
  }

  #cancel(attachment: Attachment): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const headers = this.#ask(attachment, { attach: 2, openedMs: undefined, cancel: true });
    attachment.connection.open({ isLast: true, headers }, { onMessages() {}, onEnd: resolve });
    return promise;
  }

  /** Returns the headers of an attachment. */
  #ask(
    { session, received }: Attachment,
    more: Pick<Ask, "attach" | "openedMs" | "cancel">,
  ): string[] {
    const ask = { session, received, window: DEFAULT_WINDOW, epoch: this.#epoch };
    return Object.entries(writeAsk({ ...ask, ...more })).flat();
  }
}
