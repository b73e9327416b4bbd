import type { ConnectError } from "@connectrpc/connect";
import type { AttachmentWatcher, Broken, ClientAttachment } from "./attachment.ts";
import type { Values } from "./headers.ts";

/** The session of the client, as it hears of its attachments. */
export interface AttachedSession<Frame> {
  /** Whether nothing happens any more. */
  readonly isOver: boolean;
  onOpen(number: number, stream: ClientAttachment): void;
  onHead(number: number, headers: Values): void;
  onFrame(number: number, frame: Frame): boolean;
  onStatus(number: number, status: "ok" | ConnectError, trailers: Values): void;
  onBroken(number: number, broken: Broken): void;
}

/** One stream of a session, by its number: what an earlier one says is told from what the current one says. */
export class NumberedAttachment<Frame> implements AttachmentWatcher<Frame> {
  readonly #session: AttachedSession<Frame>;
  readonly #number: number;

  constructor(session: AttachedSession<Frame>, number: number) {
    this.#session = session;
    this.#number = number;
  }

  get wanted(): boolean {
    return !this.#session.isOver;
  }

  onOpen(stream: ClientAttachment): void {
    this.#session.onOpen(this.#number, stream);
  }

  onHead(headers: Values): void {
    this.#session.onHead(this.#number, headers);
  }

  onFrame(frame: Frame): boolean {
    return this.#session.onFrame(this.#number, frame);
  }

  onStatus(status: "ok" | ConnectError, trailers: Values): void {
    this.#session.onStatus(this.#number, status, trailers);
  }

  onBroken(broken: Broken): void {
    this.#session.onBroken(this.#number, broken);
  }
}
