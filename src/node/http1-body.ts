import type { IncomingMessage } from "node:http";
import type { ConnectionMemory } from "../connection/connection-memory.ts";
import { hasPrefixes, MessageMeter } from "../connection/message-meter.ts";
import type { BudgetedStream } from "../connection/receive-budget.ts";

/**
 * The body of a request over HTTP/1.1. Connect's handlers take it as it arrives, and hold the message that has arrived in part:
 * budgets count that, as they do over HTTP/2. Above a budget the socket is not read, except for the oldest incomplete message.
 */
export class Http1Body implements BudgetedStream {
  readonly #request: IncomingMessage;
  readonly #memory: ConnectionMemory;
  readonly #meter: MessageMeter;
  #countedBytes = 0;
  #isIncomplete = false;
  #isClosed = false;
  /** Resolved when more may be read. */
  #mayRead: PromiseWithResolvers<void> | undefined;
  readonly untaken = 0;
  readonly waitingBytes = 0;
  readonly countedWaitingBytes = 0;
  progress = 0;
  rosterIndex = -1;

  constructor(request: IncomingMessage, memory: ConnectionMemory) {
    this.#request = request;
    this.#memory = memory;
    this.#meter = new MessageMeter(hasPrefixes(request.headers["content-type"]));
    memory.add(this);
  }

  /** Reads the body no faster than it is iterated, and as the budgets allow. If the iteration is left, the rest is dropped. */
  async *read(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    try {
      for await (const chunk of chunks) {
        this.#meter.push(chunk);
        this.progress++;
        this.settle();
        yield chunk;
        await this.#mayRead?.promise;
      }
    } finally {
      this.#meter.clear();
      this.settle();
    }
  }

  /** The response is complete, or the connection is lost: nothing is held any more. */
  close(): void {
    this.#isClosed = true;
    this.#meter.clear();
    this.settle();
    this.#memory.remove(this);
  }

  // BudgetedStream: called by the budgets.

  get heldBytes(): number {
    return this.#meter.partialBytes;
  }

  get partialBytes(): number {
    return this.#meter.partialBytes;
  }

  get hasCredit(): boolean {
    return this.#mayRead === undefined;
  }

  recount(): void {
    const more = this.heldBytes - this.#countedBytes;
    if (more === 0) return;
    this.#countedBytes += more;
    this.#memory.count(more, 0);
  }

  shrinkWindow(): void {}

  shrinkIdleWindow(): void {}

  settle(): void {
    this.recount();
    const isIncomplete = this.partialBytes > 0;
    if (isIncomplete !== this.#isIncomplete) {
      this.#isIncomplete = isIncomplete;
      if (isIncomplete) this.#memory.onIncomplete(this);
      else this.#memory.onComplete(this);
    }
    if (isIncomplete && !this.#memory.mayComplete(this)) {
      this.#mayRead ??= Promise.withResolvers();
    } else {
      this.#mayRead?.resolve();
      this.#mayRead = undefined;
    }
  }

  /** A status could not be sent while Connect's handlers wait for the rest of the body. */
  endOverBudget(): void {
    if (this.#isClosed) return;
    this.#request.destroy();
    this.close();
  }
}
