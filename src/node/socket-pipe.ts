import type { Socket } from "node:net";
import type { BytePipe, PipeListener } from "../connection/byte-pipe.ts";

/** A connected TCP, TLS or Unix socket as a BytePipe. */
export class SocketPipe implements BytePipe {
  readonly #socket: Socket;
  #hasEnded = false;
  #isClosed = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  get bytesRead(): number {
    return this.#socket.bytesRead;
  }

  get waitingBytes(): number {
    // The system may read what a destroyed socket was given until that is closed.
    return this.#isClosed ? 0 : this.#socket.writableLength;
  }

  start(listener: PipeListener): void {
    const socket = this.#socket;
    const end = (error?: unknown) => {
      if (this.#hasEnded) return;
      this.#hasEnded = true;
      listener.onEnd(error);
    };
    this.#onWritten = () => listener.onWritten();
    socket.on("end", () => end());
    socket.on("error", end);
    socket.on("close", () => {
      this.#isClosed = true;
      end();
      listener.onClosed();
    });
    // The last one: it lets the socket flow.
    socket.on("data", (bytes) => listener.onReceived(bytes));
  }

  /** Node calls it for each write, also for one that the kernel took immediately. */
  #onWritten = (): void => {};

  write(bytes: Uint8Array): boolean {
    if (this.#socket.destroyed) return false;
    this.#socket.write(bytes, this.#onWritten);
    return true;
  }

  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  keepAlive(isNeeded: boolean): void {
    if (isNeeded) this.#socket.ref();
    else this.#socket.unref();
  }
}
