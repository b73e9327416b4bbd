import { Code, type ConnectError } from "@connectrpc/connect";
import { peerFailure } from "../failure.ts";
import type { InboxSource, MessageSink } from "../flow/inbox.ts";

/** A message of a call that has exactly one in this direction. */
type OnlyMessage = "request" | "response";

/**
 * Reads the only response of a call. Throws UNIMPLEMENTED if no message came, or two (gRPC statuscodes.md, "cardinality
 * violation"); the caller must then end the iteration.
 *
 * @param next returns the next message
 * @param call the call, as the error names it
 */
export async function exactlyOne<T>(
  next: () => Promise<IteratorResult<T, unknown>>,
  call: string,
): Promise<T> {
  const first = await next();
  if (first.done === true) throw violation("no response", call);
  const second = await next();
  if (second.done !== true) throw violation("more than one response", call);
  return first.value;
}

/** Receives the only message of a call. One of the two is called, once; also while the source calls the ExactlyOne. */
export interface OnlyMessageListener<T> {
  /** Called when the message is there, and the other side has ended. */
  onOnlyMessage(message: T): void;
  /** Called if there was not exactly one message, or the call has failed. */
  onNoMessage(error: unknown): void;
}

/** What an ExactlyOne is for. */
export interface ExactlyOneInit<T> {
  readonly listener: OnlyMessageListener<T>;
  readonly what: OnlyMessage;
  /** The call, as the error names it: "a unary call". */
  readonly call: string;
}

/**
 * The receiver's end of a call with exactly one message: does what exactlyOne() does with the messages of an Inbox,
 * without their promises, which are a tenth of a unary call. The message is opened when it arrives.
 */
export class ExactlyOne<Raw, T> implements MessageSink<Raw> {
  readonly #source: InboxSource<Raw, T>;
  readonly #init: ExactlyOneInit<T>;
  #count = 0;
  /** Whether a message is still being opened. */
  #isOpening = false;
  #message: T | undefined;
  /** Set if the other side has ended while the message was being opened. */
  #closed: { readonly error: unknown } | undefined;
  #isDone = false;

  constructor(source: InboxSource<Raw, T>, init: ExactlyOneInit<T>) {
    this.#source = source;
    this.#init = init;
  }

  put(raw: Raw): void {
    if (!this.#isDone) this.#count++;
    if (this.#isDone || this.#isOpening) {
      this.#source.drop?.(raw);
      return;
    }
    // A second one too: if it is not valid, that is the error.
    let opened: T | Promise<T>;
    try {
      opened = this.#source.open(raw);
    } catch (error) {
      this.#refuse(error);
      return;
    }
    if (!(opened instanceof Promise)) this.#opened(opened);
    else {
      this.#isOpening = true;
      opened.then(
        (message) => this.#opened(message),
        (error) => this.#refuse(error),
      );
    }
  }

  close(error?: unknown): void {
    if (this.#isDone) return;
    if (this.#isOpening) this.#closed ??= { error };
    else if (error !== undefined) this.#fail(error);
    else if (this.#count === 0) this.#fail(this.#violation("no"));
    else {
      this.#isDone = true;
      this.#init.listener.onOnlyMessage(this.#message as T);
    }
  }

  fail(error: unknown): void {
    if (!this.#isDone) this.#fail(error);
  }

  #opened(message: T): void {
    if (this.#isDone) return;
    this.#isOpening = false;
    if (this.#count === 1) {
      this.#message = message;
      if (this.#closed !== undefined) this.close(this.#closed.error);
      return;
    }
    this.#fail(this.#violation("more than one"));
    this.#source.onLeave?.();
  }

  /** The message could not be opened. */
  #refuse(error: unknown): void {
    if (this.#isDone) return;
    this.#isDone = true;
    this.#source.onRefuse?.(error);
    this.#init.listener.onNoMessage(error);
  }

  #fail(error: unknown): void {
    this.#isDone = true;
    this.#message = undefined;
    this.#init.listener.onNoMessage(error);
  }

  #violation(count: "no" | "more than one"): ConnectError {
    const { what, call } = this.#init;
    return violation(`${count} ${what}`, call);
  }
}

function violation(got: string, call: string): ConnectError {
  return peerFailure(Code.Unimplemented, `protocol error: ${call} got ${got}; it has just one`);
}
