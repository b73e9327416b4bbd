import { IncomingMessage, type ServerResponse } from "node:http";
import type { ConnectionMemory } from "../connection/connection-memory.ts";
import { type BodyKind, MessageMeter } from "../connection/message-meter.ts";
import type { BudgetedStream } from "../connection/receive-budget.ts";

/** An iteration of a body that is left does not close the connection. */
const KEEP_CONNECTION = { destroyOnReturn: false };

/** A request over HTTP/1.1, and its response. */
export interface Http1Call {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

type OnWritten = (error: Error | null | undefined) => void;

/**
 * What a request over HTTP/1.1 and its response hold, which budgets count as they do over HTTP/2: the message that has arrived
 * in part, which Connect's handlers have taken already, and what waits to be sent. Above a budget the socket is not read, except
 * for the oldest incomplete message.
 */
export class Http1Exchange implements BudgetedStream {
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #memory: ConnectionMemory;
  readonly #meter: MessageMeter;
  #countedBytes = 0;
  countedWaitingBytes = 0;
  #isIncomplete = false;
  #isClosed = false;
  /** Resolved when more may be read. */
  #mayRead: PromiseWithResolvers<void> | undefined;
  readonly untaken = 0;
  progress = 0;
  rosterIndex = -1;

  constructor(
    { request, response }: Http1Call,
    { memory, kind }: { readonly memory: ConnectionMemory; readonly kind: BodyKind },
  ) {
    this.#request = request;
    this.#response = response;
    this.#memory = memory;
    this.#meter = new MessageMeter(kind);
    memory.add(this);
    this.#watchBody();
    this.#watchResponse();
  }

  /** Connect's adapter iterates the body once; then, when it has answered, what is left of it, which it drops. */
  #watchBody(): void {
    const request = this.#request;
    const chunks = () => IncomingMessage.prototype.iterator.call(request, KEEP_CONNECTION);
    let isFirst = true;
    const iterator = () => {
      const isRest = !isFirst;
      isFirst = false;
      return isRest ? chunks() : this.#read(chunks());
    };
    Object.defineProperty(request, "iterator", { value: iterator });
  }

  #watchResponse(): void {
    const response = this.#response;
    const { write, end } = response;
    // An app may leave out what it does not need.
    const counted = (chunk: unknown, given?: BufferEncoding | OnWritten, callback?: OnWritten) => {
      const encoding = typeof given === "function" ? undefined : given;
      const onWritten = typeof given === "function" ? given : callback;
      const hasCapacity = write.call(response, chunk, encoding as BufferEncoding, (error) =>
        onWritten?.(error && lost(error)),
      );
      this.recount();
      return hasCapacity;
    };
    const ended = (...given: Parameters<typeof end>) => {
      end.apply(response, given);
      this.recount();
      return response;
    };
    // Middleware of apps replaces them in turn.
    const isOpen = { writable: true, configurable: true };
    Object.defineProperty(response, "write", { value: counted, ...isOpen });
    Object.defineProperty(response, "end", { value: ended, ...isOpen });
    response.on("drain", () => {
      this.progress++;
      this.recount();
    });
    response.once("finish", () => this.#request.resume());
    response.once("close", () => this.#close());
  }

  /** Reads the body no faster than it is iterated, and as the budgets allow. If the iteration is left, the rest is dropped. */
  async *#read(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
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

  #close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#meter.clear();
    this.settle();
    this.#memory.remove(this);
  }

  // BudgetedStream: called by the budgets.

  get heldBytes(): number {
    return this.partialBytes + this.waitingBytes;
  }

  get partialBytes(): number {
    return this.#meter.partialBytes;
  }

  get waitingBytes(): number {
    return this.#isClosed ? 0 : this.#response.writableLength;
  }

  get hasCredit(): boolean {
    return this.#mayRead === undefined;
  }

  recount(): void {
    const { heldBytes, waitingBytes } = this;
    const more = heldBytes - this.#countedBytes;
    const moreWaiting = waitingBytes - this.countedWaitingBytes;
    if (more === 0 && moreWaiting === 0) return;
    this.#countedBytes = heldBytes;
    this.countedWaitingBytes = waitingBytes;
    this.#memory.count(more, moreWaiting);
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

  /** Closes the connection: a status would wait for a client that does not read, or for the handler that waits for the body. */
  endOverBudget(): void {
    if (this.#isClosed) return;
    this.#request.destroy();
    this.#close();
  }
}

/** The error of a response whose connection was closed. By this code Connect's adapter knows it, and does not log it. */
function lost(cause: Error): Error {
  return Object.assign(new Error(cause.message, { cause }), { code: "ECONNRESET" });
}
