import { Code, type HandlerContext } from "@connectrpc/connect";
import { failure, fromAbort, handled } from "../failure.ts";
import { Queue } from "../flow/queue.ts";
import { onAbort } from "../flow/wait.ts";
import { type Pump, type Pumpable, pumpTo, type Writer } from "../flow/writer.ts";
import { abortSource } from "../grpc/context.ts";
import { callable } from "../options.ts";

/** send() waits while this many responses are queued, as on the client. */
const QUEUE_MESSAGES = 16;

/** A bidirectional call, as a handler sees it that reads and sends in different places (see duplex). */
export interface DuplexCall<Req, Res> {
  /** The loop ends when the client half-closes. It throws if the call is cancelled or lost. */
  readonly requests: AsyncIterable<Req>;
  /**
   * Sends a response. Resolves when there is capacity for the next one: awaiting it is the backpressure. May be called from
   * several places at the same time; responses leave whole, in the order of the calls. After the end of the call it
   * rejects, and never hangs: with the reason of `signal`, or with FAILED_PRECONDITION if the handler has returned or thrown.
   * A value that is not a message of the type ends the call with INTERNAL.
   */
  readonly send: (response: Res) => Promise<void>;
  /** Aborts when the call has ended: the client has left, the deadline has passed, the handler has returned. */
  readonly signal: AbortSignal;
  /** As other handlers get it: the headers and trailers, the time that is left, and the caller. */
  readonly context: HandlerContext;
}

/**
 * Makes a handler of a bidirectional method from a function that reads requests in one place and sends responses in another;
 * neither waits for the other. The call ends with OK when the function returns, or with the error that it throws; responses
 * that were sent before that arrive first, also if nothing has awaited `send`.
 *
 * If the client leaves, `signal` aborts, `requests` throws and `send` rejects: a function that waits for anything else must
 * watch `signal`. A handler that yields each response where it reads the requests is simpler as an async generator.
 *
 * Throws INVALID_ARGUMENT if `handler` is not a function.
 *
 * @example
 * ```ts
 * chat: duplex(async ({ requests, send, signal }) => {
 *   const listening = room.onMessage((reply) => void send({ reply }));
 *   signal.addEventListener("abort", () => listening.close());
 *   for await (const { content } of requests) room.say(content);
 * }),
 * ```
 */
export function duplex<Req, Res>(
  handler: (call: DuplexCall<Req, Res>) => Promise<void> | void,
): (requests: AsyncIterable<Req>, context: HandlerContext) => AsyncIterable<Res> {
  callable(handler, { of: "duplex", option: "handler" });
  return (requests, context) => new DuplexResponses(handler, requests, context);
}

/**
 * The responses of one call. The handler begins when they are first asked for. They are one iteration, as a generator's are:
 * it ends when the handler does.
 */
class DuplexResponses<Req, Res> implements AsyncIterableIterator<Res, undefined>, Pumpable<Res> {
  readonly #handler: (call: DuplexCall<Req, Res>) => Promise<void> | void;
  readonly #requests: AsyncIterable<Req>;
  readonly #context: HandlerContext;
  readonly #queue = new Queue<Res>(QUEUE_MESSAGES);
  readonly #responses = this.#queue[Symbol.asyncIterator]();
  /** The handler's run: settles as the handler does. */
  #run: Promise<void> | undefined;
  #hasEnded = false;

  constructor(
    handler: (call: DuplexCall<Req, Res>) => Promise<void> | void,
    requests: AsyncIterable<Req>,
    context: HandlerContext,
  ) {
    this.#handler = handler;
    this.#requests = requests;
    this.#context = context;
  }

  async next(): Promise<IteratorResult<Res, undefined>> {
    this.#start();
    try {
      return await this.#responses.next();
    } catch (error) {
      // What the handler throws after its call has ended is reported by whoever reads the responses.
      await this.#run;
      throw error;
    }
  }

  /** Does not wait for the handler: it may wait for a request of the client that leaves here. */
  async return(): Promise<IteratorReturnResult<undefined>> {
    this.#queue.stop();
    return { done: true, value: undefined };
  }

  async throw(error: unknown): Promise<never> {
    this.#queue.fail(error);
    throw error;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  [pumpTo](writer: Writer<Res>, onReturnError?: (error: unknown) => void): Pump {
    const pump = this.#queue[pumpTo](writer);
    this.#start(onReturnError);
    return pump;
  }

  /** @param onLate called with an error that the handler throws after its call has ended */
  #start(onLate?: (error: unknown) => void): void {
    if (this.#run !== undefined) return;
    const context = this.#context;
    onAbort(abortSource(context), (reason) => this.#queue.fail(fromAbort(reason)));
    const call: DuplexCall<Req, Res> = {
      requests: this.#requests,
      send: (response) => this.#send(response),
      get signal() {
        return context.signal;
      },
      context,
    };
    const run = async () => this.#handler(call);
    this.#run = handled(run());
    this.#run.then(
      () => this.#end({}),
      (error) => this.#end({ error }, onLate),
    );
  }

  #send(response: Res): Promise<void> {
    if (!this.#hasEnded) return this.#queue.push(response);
    const { parent, name } = this.#context.method;
    const what = `${parent.typeName}.${name}: nothing can be sent after the handler has returned or thrown: await what sends`;
    return handled(Promise.reject(failure(Code.FailedPrecondition, what)));
  }

  #end(end: { readonly error?: unknown }, onLate?: (error: unknown) => void): void {
    this.#hasEnded = true;
    if (!this.#queue.isFailed) this.#queue.end(end);
    // An error of send() that the handler passes on is that of the call.
    else if ("error" in end && end.error !== this.#queue.error) onLate?.(end.error);
  }
}
