import { ClosedStreams } from "./closed-streams.ts";
import { MAX_STREAM_ID } from "./frames.ts";
import { OpenStreams } from "./open-streams.ts";
import type { Stream } from "./stream.ts";
import type { ConnectionOptions, StreamEnd } from "./types.ts";

/** How many streams of a connection that is lost are closed at once: each may end the call of a handler. */
const CLOSED_AT_ONCE = 16;

/** The streams of a connection, and which ids were used. */
export class StreamTable {
  readonly closed = new ClosedStreams();
  /** A server: the highest id of a request. */
  highestPeerId = 0;
  /** A server: the highest id of a request that it has accepted. GOAWAY names it. */
  lastAcceptedId = 0;
  readonly #isServer: boolean;
  readonly #streams = new OpenStreams();
  /** The stream that was found last; frames of one stream often follow each other. */
  #recent: Stream | undefined;
  #nextId: number;

  /** @param nextId where tests begin that use up the ids */
  constructor(isServer: boolean, nextId = 1) {
    this.#isServer = isServer;
    this.#nextId = nextId;
  }

  get size(): number {
    return this.#streams.size;
  }

  get hasIds(): boolean {
    return this.#nextId <= MAX_STREAM_ID;
  }

  /** A client: the id of the next stream. */
  takeId(): number {
    const id = this.#nextId;
    this.#nextId += 2;
    return id;
  }

  /** All streams that are open now. */
  all(): Stream[] {
    return this.#streams.all();
  }

  /**
   * Closes all streams: with `inTurns` a few at a time. Calls `onClosed` each time, in the end also if a listener of a stream
   * has closed the last one.
   */
  closeAll(end: StreamEnd, onClosed: () => void, inTurns?: ConnectionOptions["inTurns"]): void {
    const all = this.all();
    let next = 0;
    const closeSome = (count: number) => {
      for (const stream of all.slice(next, next + count)) stream.close(end);
      next += count;
      onClosed();
      return next >= all.length;
    };
    if (inTurns === undefined || all.length === 0) closeSome(all.length);
    else inTurns(() => closeSome(CLOSED_AT_ONCE));
  }

  find(id: number): Stream | undefined {
    if (this.#recent?.id === id) return this.#recent;
    const stream = this.#streams.get(id);
    if (stream !== undefined) this.#recent = stream;
    return stream;
  }

  add(stream: Stream): void {
    this.#streams.add(stream);
    this.#recent = stream;
  }

  remove(stream: Stream): void {
    this.#streams.delete(stream.id);
    if (this.#recent === stream) this.#recent = undefined;
  }

  /** A server: whether a request of this id came after the last GOAWAY, and was ignored (RFC 9113, 6.8). */
  wasIgnored(id: number): boolean {
    return this.#isServer && id > this.lastAcceptedId && id <= this.highestPeerId;
  }

  /** Whether frames for a closed stream may have been in flight when it was closed here. */
  mayReceive(id: number): boolean {
    return this.wasIgnored(id) || this.closed.mayReceive(id);
  }

  /** Whether no stream of this id was ever opened. */
  isIdle(id: number): boolean {
    if (id % 2 === 0) return true;
    return this.#isServer ? id > this.highestPeerId : id >= this.#nextId;
  }
}
