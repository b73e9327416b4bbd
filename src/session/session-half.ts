import type { ConnectError } from "@connectrpc/connect";
import type { SharedFrame } from "../call-stream.ts";
import { handled } from "../failure.ts";
import { type Acknowledgements, Acknowledger } from "./acknowledgements.ts";
import type { BegunCall, SessionStream } from "./attachment.ts";
import type { SessionWindow, Violation } from "./session-window.ts";
import { type AttachmentState, detached, ended, unattached } from "./state.ts";

/**
 * The common part of the two halves of a session. A message that the call sends
 * is kept in the window, and is sent on the session's stream. If the session has
 * no stream, the message is sent on the next one. A message that the call takes
 * is acknowledged on the same stream.
 */
export abstract class SessionHalf<Stream extends SessionStream> {
  protected readonly window: SessionWindow;
  protected readonly acknowledger: Acknowledger;
  protected attachment: AttachmentState<Stream> = unattached;
  /** Writers wait for this promise while the window is full. */
  #capacity: PromiseWithResolvers<void> | undefined;
  /** The error of every write from now on. */
  #failure: ConnectError | undefined;

  constructor(window: SessionWindow, acknowledgements: Acknowledgements) {
    this.window = window;
    this.acknowledger = new Acknowledger(window, acknowledgements);
  }

  /** As CallStream.write(): returns a promise if the window is full, or the stream takes no more for now. */
  write(flags: number, payload: Uint8Array, shared?: SharedFrame): Promise<void> | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    const { window, acknowledger } = this;
    const isFull = window.push(flags, payload, shared);
    const written = this.attachment.outgoing?.pull(window.kept);
    if (acknowledger.isDue) acknowledger.now();
    if (!isFull || (!window.isFullItself && !this.mustWait())) return written;
    this.#capacity ??= Promise.withResolvers();
    return this.#capacity.promise;
  }

  taken(bytes: number): void {
    if (this.window.take(bytes)) this.acknowledger.now();
    else if (!this.acknowledger.isScheduled) this.acknowledger.soon();
  }

  hold(bytes: number): void {
    this.window.hold(bytes);
  }

  /** Takes the stream from the session, and drops what waits in it: it was lost, or another one replaces it. */
  protected releaseStream(): void {
    this.takeStream()?.release();
  }

  /** Ends this half, and returns what was sent: the call continues on another stream, to which the writers turn. */
  protected handOver(): BegunCall {
    this.releaseStream();
    this.attachment = ended(this.attachment);
    this.#capacity?.resolve();
    this.#capacity = undefined;
    return { sent: this.window.kept, hasHalfClosed: this.window.ended };
  }

  /** Sends again all messages after the first `received` ones. */
  protected sendAgain(stream: Stream, received: number): void {
    this.window.rewind(received);
    stream.pull(this.window.kept);
  }

  /** Drops what the other side acknowledged. */
  protected acknowledge(count: number): Violation | undefined {
    return this.window.acknowledge(count, this.attachment.stream?.waitingBytes);
  }

  /** Whether writers must wait although the window itself has capacity: for that of its account. */
  protected mustWait(): boolean {
    return false;
  }

  /**
   * Lets writers continue if the window, and its account, have capacity. Each session may always have one message under way:
   * else handlers that send while the requests of their sessions use the account up would wait for themselves.
   */
  protected wakeWriters(): void {
    if (this.#capacity === undefined || this.window.isFullItself) return;
    if (this.window.kept.messages === 0 || !this.mustWait()) this.letWrite();
  }

  /** Lets writers continue if the window itself has capacity. */
  protected letWrite(): void {
    if (this.window.isFullItself) return;
    this.#capacity?.resolve();
    this.#capacity = undefined;
  }

  /** Fails the writes that wait, and all later ones, with the first error that this is called with. */
  protected failWrites(error: ConnectError): void {
    this.#failure ??= error;
    if (this.#capacity === undefined) return;
    handled(this.#capacity.promise);
    this.#capacity.reject(this.#failure);
  }

  /** Takes the stream from the session, which has none from now on. The caller must end it. */
  protected takeStream(): Stream | undefined {
    const { stream } = this.attachment;
    this.attachment = detached(this.attachment);
    this.acknowledger.detach();
    return stream;
  }
}
