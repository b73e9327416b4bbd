import type { BytePipe, PipeListener } from "../../src/connection/byte-pipe.ts";

/** A pipe that notes what happens to it, and holds what is written until the test lets it go. */
export class FakePipe implements BytePipe {
  readonly bytesRead = 0;
  waitingBytes = 0;
  /** The memory of the writes that it holds. */
  heldBufferBytes = 0;
  listener!: PipeListener;
  readonly log: string[] = [];
  /** What was written. */
  readonly written: Buffer[] = [];
  /** Whether the pipe holds what is written. */
  holds = false;

  start(listener: PipeListener): void {
    this.listener = listener;
  }

  write(bytes: Uint8Array): void {
    this.log.push(`write ${bytes.length}`);
    this.written.push(Buffer.from(bytes));
    if (!this.holds) return;
    this.waitingBytes += bytes.length;
    this.heldBufferBytes += bytes.buffer.byteLength;
  }

  /** All that was written has left. */
  letGo(): void {
    this.holds = false;
    this.waitingBytes = 0;
    this.listener.onWritten();
  }

  end(): void {
    this.log.push("end");
  }

  destroy(): void {
    this.log.push("destroy");
  }

  keepAlive(): void {}
}
