import type { ConnectError } from "@connectrpc/connect";
import type { AttachmentWatcher, Broken, ClientAttachment } from "./attachment.ts";
import type { SessionFrame } from "./control.ts";
import type { ClientSession } from "./dial.ts";
import type { Values } from "./headers.ts";

/** One stream of a session, by its number: what an earlier one says is told from what the current one says. */
export class NumberedAttachment<Frame extends SessionFrame> implements AttachmentWatcher<Frame> {
  readonly #session: ClientSession<Frame>;
  readonly #number: number;

  constructor(session: ClientSession<Frame>, number: number) {
    this.#session = session;
    this.#number = number;
  }

  get wanted(): boolean {
    return this.#session.state !== "over";
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
