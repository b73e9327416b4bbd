import type { BytePipe, PipeListener } from "../../src/connection/byte-pipe.ts";

/** A pipe that notes what happens to it, and holds what is written until the test lets it go. */
export class FakePipe implements BytePipe {
  readonly bytesRead = 0;
  waitingBytes = 0;
  readonly maxWaitingBytes = 128 * 1024;
  listener!: PipeListener;
  readonly log: string[] = [];
  /** What was written. */
  readonly written: Buffer[] = [];
  /** Whether the pipe holds what is written. */
  holds = false;
  /** Whether the pipe takes nothing any more. */
  isLost = false;

  start(listener: PipeListener): void {
    this.listener = listener;
  }

  write(bytes: Uint8Array): boolean {
    this.log.push(`write ${bytes.length}`);
    if (this.isLost) return false;
    this.written.push(Buffer.from(bytes));
    if (!this.holds) return true;
    this.waitingBytes += bytes.length;
    return true;
  }

  /** All that was written has left. */
  letGo(): void {
    this.holds = false;
    this.take(this.waitingBytes);
  }

  /** The first `bytes` of what it holds have left. */
  take(bytes: number): void {
    this.waitingBytes -= bytes;
    this.listener.onWritten();
  }

  pauseReading(): void {
    this.log.push("pause");
  }

  resumeReading(): void {
    this.log.push("resume");
  }

  end(): void {
    this.log.push("end");
  }

  destroy(): void {
    this.log.push("destroy");
  }

  keepAlive(): void {}
}
