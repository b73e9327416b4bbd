/**
 * Moves the bytes of one connection in both directions: a TCP, TLS or Unix socket (src/node/socket-pipe.ts). It knows
 * nothing of HTTP/2.
 */
export interface BytePipe {
  /** How many bytes were received so far: keepalive compares it with an earlier value. */
  readonly bytesRead: number;
  /**
   * How many written bytes the pipe still holds. It takes them in order: if it holds 10 bytes, they are the last 10 that
   * were written, and the memory of the others may be used again. At 0 it needs none.
   */
  readonly waitingBytes: number;
  /** Once the pipe holds this many bytes, it is given no DATA until it holds none: messages wait in their streams. */
  readonly maxWaitingBytes: number;
  /** Begins to deliver what is received. Called once. */
  start(listener: PipeListener): void;
  /**
   * Writes bytes, which must not change while the pipe holds them. If it holds some after the call, onWritten() follows.
   * Returns false if the pipe is lost, and takes nothing.
   */
  write(bytes: Uint8Array): boolean;
  /**
   * Delivers no bytes until resumeReading(), and holds as few as it can: the peer is to wait. The peer's end is not reported
   * either. What the pipe delivers during the call that pauses it may still come.
   */
  pauseReading(): void;
  /** Continues to deliver, after this call. */
  resumeReading(): void;
  /** Ends this side after all that was written. */
  end(): void;
  /** Closes the pipe now, in both directions. */
  destroy(): void;
  /** Whether the open pipe keeps the process alive. Default: true. */
  keepAlive(isNeeded: boolean): void;
}

/** Listens to a pipe. The pipe does not call it before start() has returned. */
export interface PipeListener {
  /** Called with received bytes. The pipe does not change them later. */
  onReceived(bytes: Uint8Array): void;
  /** Called when the pipe may hold fewer written bytes than before; the last time when it holds none. */
  onWritten(): void;
  /**
   * Called once, when no more bytes can be received: the peer has ended its side, or the pipe is lost or destroyed.
   *
   * @param error why the pipe was lost; `undefined` if the peer has ended it, or destroy() was called
   */
  onEnd(error: unknown): void;
  /** Called once, last: the pipe is closed in both directions. */
  onClosed(): void;
}
