import { type FrameRun, IN_NO_RUN, type SharedFrame } from "../call-stream.ts";
import { PREFIX_BYTES, writePrefix } from "../flow/length-prefix.ts";
import { runtime } from "../flow/runtime.ts";

/** The size of a run: some hundred messages of a chat. */
const RUN_BYTES = 16 * 1024;

/** A larger message, with its prefix, is in no run: calls save little by sending it together with others. */
const IN_RUN_MAX_BYTES = 2 * 1024;

/** A run whose memory can be freed. */
interface Run extends FrameRun {
  bytes: Uint8Array | undefined;
}

/**
 * The newest messages that many calls send, with their prefixes, in the order in which they were encoded. Calls that send the
 * same messages one after the other, as watchers of a topic do, keep and send parts of a run instead of a copy of each message.
 * There are two runs at a time: the memory of an older one is freed when no call needs it any more.
 */
class FrameRuns {
  #older: Run = { bytes: undefined };
  #run: Run = { bytes: undefined };
  #used = RUN_BYTES;

  /** Adds a message that is not compressed. */
  add(payload: Uint8Array): SharedFrame {
    const size = payload.length;
    if (size + PREFIX_BYTES > IN_RUN_MAX_BYTES) return IN_NO_RUN;
    if (this.#used + PREFIX_BYTES + size > RUN_BYTES) this.#begin();
    const start = this.#used;
    const bytes = this.#run.bytes as Uint8Array;
    writePrefix(bytes, start, { flags: 0, size });
    bytes.set(payload, start + PREFIX_BYTES);
    this.#used = start + PREFIX_BYTES + size;
    return { run: this.#run, start, end: this.#used };
  }

  #begin(): void {
    this.#older.bytes = undefined;
    this.#older = this.#run;
    this.#run = { bytes: new Uint8Array(runtime.allocateAlone(RUN_BYTES).buffer) };
    this.#used = 0;
  }
}

/** Those of this process. */
export const frameRuns = new FrameRuns();
