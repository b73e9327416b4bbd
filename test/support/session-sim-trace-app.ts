import type { CallStream, Received } from "../../src/call-stream.ts";
import { COMPRESSED } from "../../src/grpc/framing.ts";
import { fromHex, type Heard, toHex } from "./session-sim-trace.ts";

/** The application at one end of a trace: it sends, takes, and notes what it is told. */
export class TraceApp {
  readonly heard: Heard[] = [];
  sent = 0;
  received = 0;
  isFull = false;
  readonly #got: Received[] = [];

  send(session: CallStream, { message, compressed }: { message: string; compressed?: boolean }) {
    this.sent++;
    const capacity = session.write(compressed ? COMPRESSED : 0, fromHex(message));
    if (capacity === undefined) return;
    this.isFull = true;
    const onCapacity = () => {
      this.isFull = false;
      this.heard.push({ room: true });
    };
    capacity.then(onCapacity, () => {
      this.isFull = false;
    });
  }

  take(session: CallStream): void {
    const { start, end } = this.#got.shift() as Received;
    session.taken(end - start);
  }

  onMessage(message: Received): void {
    this.received++;
    this.#got.push({ ...message, bytes: message.bytes.slice() });
    const text = toHex(message.bytes.subarray(message.start, message.end));
    this.heard.push({
      message: text,
      ...(message.flags === COMPRESSED ? { compressed: true } : {}),
    });
  }
}
