/** How many ids of streams that this side has reset are remembered. */
const REMEMBERED = 100;

/** What the peer may have sent on a stream before it learns of its reset. */
export interface InFlight {
  /** Header blocks: the peer pays for those beyond. */
  readonly blocks: number;
  /** DATA: what was left of the stream's window. */
  readonly bytes: number;
}

/** Headers and trailers. */
export const BLOCKS_IN_FLIGHT = 2;

/** Nothing: the stream was closed before. */
export const NONE_IN_FLIGHT: InFlight = { blocks: 0, bytes: 0 };

/**
 * What the peer may still send for streams that are closed: frames that were in flight (RFC 9113, 5.1, "closed"). The
 * memory is bounded. Of the streams that this side has reset, the last ones are remembered by their ids; all streams up to
 * the highest id that was forgotten count as reset. Of frames that cost something, only their number is kept.
 */
export class ClosedStreams {
  #ids: Set<number> | undefined;
  #forgottenId = 0;
  #blocks = 0;
  #bytes = 0;
  /** RST_STREAMs for streams that this side has ended or reset. */
  #resets = 0;

  /** This side has reset a stream. */
  addReset(id: number, { blocks, bytes }: InFlight): void {
    this.#ids ??= new Set();
    if (this.#ids.size >= REMEMBERED) {
      const oldest = this.#ids.values().next().value as number;
      this.#ids.delete(oldest);
      this.#forgottenId = Math.max(this.#forgottenId, oldest);
    }
    this.#ids.add(id);
    this.allow({ blocks, bytes });
  }

  /** Lets the peer send more for closed streams. */
  allow({ blocks, bytes }: InFlight): void {
    this.#blocks += blocks;
    if (bytes > 0) this.#bytes += bytes;
  }

  /** A stream was closed, and not by the peer's reset: that one may be in flight. */
  countEnd(): void {
    this.#resets++;
  }

  /** Whether frames of the peer for this closed stream may have been in flight when it was reset here. */
  mayReceive(id: number): boolean {
    return id <= this.#forgottenId || this.#ids?.has(id) === true;
  }

  /** Counts a header block for a closed stream. Returns false if there are more than can have been in flight. */
  takeBlock(): boolean {
    if (this.#blocks === 0) return false;
    this.#blocks--;
    return true;
  }

  /** As takeBlock(), of DATA. */
  takeData(bytes: number): boolean {
    if (this.#bytes < bytes) return false;
    this.#bytes -= bytes;
    return true;
  }

  /** As takeBlock(), of RST_STREAM. */
  takeReset(): boolean {
    if (this.#resets === 0) return false;
    this.#resets--;
    return true;
  }
}
