import { Code, type ConnectError } from "@connectrpc/connect";
import type {
  CallStream,
  End,
  HeaderList,
  Outcome,
  Received,
  ServerCallStream,
  ServerStreamListener,
} from "../call-stream.ts";
import { failure, handled } from "../failure.ts";
import type { Clock } from "../flow/clock.ts";
import { PREFIX_BYTES } from "../flow/length-prefix.ts";
import { type Acknowledgements, Acknowledger } from "./acknowledgements.ts";
import type { ServerAttachment } from "./attachment.ts";
import { CONTROL, headerControl, readControl, writeMetadata } from "./control.ts";
import { type Ask, writeAnswer } from "./headers.ts";
import { Reason, sessionLost } from "./lost.ts";
import { type Account, SessionWindow } from "./session-window.ts";
import type { SessionSettings } from "./settings.ts";
import {
  detached,
  ended,
  type Link,
  refusalOf,
  type ServerPhase,
  streamOf,
  unattached,
} from "./state.ts";

/** Those who keep the sessions of a server. */
export interface Keeper {
  readonly settings: SessionSettings;
  readonly clock: Clock;
  readonly acknowledgements: Acknowledgements;
  readonly account: Account;
  /** The call has ended, and only the client's confirmation is missing. */
  onFinished(id: string): void;
  /** The session is over: nothing can resume it. `settled`: and the client knows, so that it will not try. */
  onOver(id: string, settled: boolean): void;
}

export interface ServerSessionInit {
  readonly keeper: Keeper;
  /** What the client asked for with its first attachment. */
  readonly ask: Ask;
  /** The response headers that every response has. */
  readonly head: HeaderList;
}

/** What the trailer hawser-sent counts, with a number of 16 digits. */
const SENT_BYTES = 64;

const NOTHING: HeaderList = {};

/**
 * The server's half of a session: for the call it is a stream that is never
 * lost until the grace has run out; it listens to the attachments, one after
 * the other.
 */
export class ServerSession implements ServerCallStream, ServerStreamListener {
  readonly ownTrailerBytes = SENT_BYTES;
  readonly #id: string;
  readonly #keeper: Keeper;
  readonly #head: HeaderList;
  readonly #call: ServerStreamListener;
  readonly #window: SessionWindow;
  readonly #acknowledger: Acknowledger;
  #link: Link<ServerAttachment> = unattached;
  #phase: ServerPhase = "running";
  #grace: Disposable | undefined;
  /** The response headers of the handler, once it has sent them. */
  #headers: HeaderList | undefined;
  /** With what the call has ended. It is kept until the client confirms it. */
  #callEnd: End | undefined;
  #announcedHeaderBytes = 0;
  #capacity: PromiseWithResolvers<void> | undefined;
  /** With what every write fails. */
  #failure: ConnectError | undefined;

  constructor({ keeper, ask, head }: ServerSessionInit, call: ServerStreamListener) {
    this.#id = ask.session;
    this.#keeper = keeper;
    this.#head = head;
    this.#call = call;
    this.#window = new SessionWindow(keeper.settings.window, keeper.account);
    this.#window.setPeerWindow(ask.window);
    this.#acknowledger = new Acknowledger(this.#window, keeper.acknowledgements);
  }

  /** Whether only the client's confirmation is missing. */
  get finished(): boolean {
    return this.#callEnd !== undefined;
  }

  // What the attachments bring.

  /**
   * A client asks for an attachment. Either `open` is called and the session
   * goes on there, or the error says why not; the session is then as it was.
   */
  attach(ask: Ask, open: () => ServerAttachment): ConnectError | undefined {
    const refusal = refusalOf(this.#link, ask.attach);
    if (refusal !== undefined) return sessionLost(refusal, this.#window.received);
    const violation = this.#window.checkResume(ask.received);
    if (violation === "gap") return sessionLost(Reason.GAP, this.#window.received);
    if (violation === "above") {
      const what = `the client has received ${ask.received} messages of ${this.#window.sent}`;
      return sessionLost(Reason.PROTOCOL_ERROR, this.#window.received, what);
    }
    const resumed = this.#link.number > 0;
    this.#grace?.[Symbol.dispose]();
    // Fence first, then count: from here on the last attachment brings nothing any more.
    this.#leave()?.refuse(sessionLost(Reason.TAKEN_OVER, this.#window.received));
    const stream = open();
    this.#link = { is: "attached", number: ask.attach, stream };
    this.#announcedHeaderBytes = stream.announcedHeaderBytes;
    const { received, kept } = this.#window;
    const metadata = this.#headers !== undefined;
    const answer = writeAnswer({ ...this.#keeper.settings, resumed, received, metadata });
    stream.sendHeaders({ ...this.#head, ...this.#headers, ...answer });
    // After the end of the call nobody takes what came.
    if (!this.finished) this.#acknowledger.attach(stream);
    this.#window.rewind(ask.received);
    stream.pull(kept, kept.framedBytes);
    if (this.#callEnd !== undefined) stream.endSend(this.#callEnd);
    return undefined;
  }

  /** The client cancels the call. */
  cancel(): void {
    this.#giveUp(true, failure(Code.Canceled, "the client cancelled the call"));
  }

  onMessage(message: Received, from: CallStream): void {
    if (from !== streamOf(this.#link)) return;
    const bytes = message.end - message.start;
    from.taken(bytes);
    if ((message.flags & CONTROL) !== 0) this.#onControl(message);
    else if (this.#window.hasReceivedEnd) {
      this.#violated("the client sends a message behind its end");
    } else if (!this.#window.receive(bytes)) {
      this.#violated("the client sends more than the window holds");
    } else if (this.finished) this.#window.take(bytes);
    else this.#call.onMessage(message, this);
  }

  /**
   * The client ended its side of the stream: it has all. Or it broke the rules, in the middle of a message or of the
   * call, and must come again.
   */
  onHalfClose(isWhole: boolean, from: CallStream): void {
    const stream = streamOf(this.#link);
    if (stream === undefined || from !== stream) return;
    if (isWhole && this.finished) {
      this.#over(true);
      return;
    }
    this.#lost();
    stream.refuse(failure(Code.Unavailable, "the stream of a session was half-closed"));
  }

  onInvalid(error: ConnectError, from: CallStream): void {
    if (from === streamOf(this.#link)) this.#invalid(error);
  }

  onClosed(outcome: Outcome, from: CallStream): void {
    if (from !== streamOf(this.#link)) return;
    if (outcome.is === "unsendable") this.reset();
    else this.#lost();
  }

  /** The stream is gone; the session waits for another. */
  #lost(): void {
    this.#leave()?.release();
    if (this.finished) this.#closeCall();
    this.#wait(0);
  }

  /** The client was told to come again that much later. */
  postpone(ms: number): void {
    if (this.#link.is === "detached") this.#wait(ms);
  }

  #wait(moreMs: number): void {
    const { clock, settings } = this.#keeper;
    this.#grace?.[Symbol.dispose]();
    this.#grace = clock.startTimer(settings.graceMs + moreMs, () => this.expire());
  }

  /** Nobody came back in time; or nobody must, because memory is needed. */
  expire(): void {
    this.#over(false, sessionLost(Reason.EXPIRED, this.#window.acknowledged));
  }

  // What the call does, as it would with a stream.

  /** That of the client of the last attachment. */
  get announcedHeaderBytes(): number {
    return this.#announcedHeaderBytes;
  }

  sendHeaders(headers: HeaderList): void {
    if (this.#headers !== undefined) return;
    this.#headers = without(headers, this.#head);
    const stream = streamOf(this.#link);
    stream?.write(CONTROL, headerControl(writeMetadata(this.#headers)));
    // Messages would leave before it.
    stream?.flush();
  }

  write(flags: number, payload: Uint8Array): Promise<void> | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    this.#window.push(flags, payload);
    const stream = streamOf(this.#link);
    const written = stream?.pull(this.#window.kept, payload.length + PREFIX_BYTES);
    this.#acknowledger.onSent();
    if (!this.#window.full) return written;
    this.#capacity ??= Promise.withResolvers();
    return this.#capacity.promise;
  }

  endSend({ status, trailers }: End): void {
    if (this.finished || this.#link.is === "over") return;
    this.#phase = "ended";
    const sent = { "hawser-sent": String(this.#window.sent) };
    this.#callEnd = { status, trailers: { ...without(trailers, this.#head), ...sent } };
    this.#window.takeAll();
    this.#failWrites(status === "ok" ? ENDED : status);
    this.#acknowledger.detach();
    this.#keeper.onFinished(this.#id);
    const stream = streamOf(this.#link);
    if (stream !== undefined) stream.endSend(this.#callEnd);
    else this.#closeCall();
  }

  taken(bytes: number): void {
    if (this.#window.take(bytes)) this.#acknowledger.now();
    else this.#acknowledger.soon();
  }

  /** Gives the session up: nobody can resume it. */
  reset(): void {
    this.#giveUp(false, failure(Code.Aborted, "the session was given up"));
  }

  #onControl(message: Received): void {
    const control = readControl(message);
    if (control?.case === "received") {
      if (this.#window.acknowledge(Number(control.value)) === "above") {
        this.#violated(`the client acknowledges ${control.value} messages of ${this.#window.sent}`);
      } else if (!this.#window.full) {
        this.#capacity?.resolve();
        this.#capacity = undefined;
      }
    } else if (control?.case === "end") {
      if (Number(control.value) !== this.#window.received) {
        this.#violated(
          `the client ends after ${control.value} messages; ${this.#window.received} came`,
        );
      } else if (!this.#window.hasReceivedEnd) {
        this.#window.receiveEnd();
        if (!this.finished) this.#call.onHalfClose(true, this);
      }
    } else this.#violated("the client sent a control frame that makes no sense");
  }

  #violated(what: string): void {
    this.#invalid(sessionLost(Reason.PROTOCOL_ERROR, this.#window.received, what));
  }

  #invalid(error: ConnectError): void {
    if (!this.finished) this.#call.onInvalid(error, this);
  }

  #failWrites(error: ConnectError): void {
    this.#failure ??= error;
    if (this.#capacity === undefined) return;
    handled(this.#capacity.promise);
    this.#capacity.reject(this.#failure);
  }

  /** Lets go of the stream that carries the session, and gives it to be ended. */
  #leave(): ServerAttachment | undefined {
    const stream = streamOf(this.#link);
    this.#link = detached(this.#link);
    this.#acknowledger.detach();
    return stream;
  }

  /** Ends the session, and its stream with the same error. */
  #giveUp(settled: boolean, error: ConnectError): void {
    const stream = this.#leave();
    this.#over(settled, error);
    stream?.refuse(error);
  }

  /** @param error why the call is lost, where it has not ended */
  #over(settled: boolean, error: ConnectError = ENDED): void {
    if (this.#link.is === "over") return;
    this.#leave();
    this.#link = ended(this.#link);
    this.#grace?.[Symbol.dispose]();
    this.#failWrites(error);
    this.#window.close();
    this.#keeper.onOver(this.#id, settled);
    this.#closeCall(error);
  }

  #closeCall(error: ConnectError = ENDED): void {
    if (this.#phase === "closed") return;
    this.#phase = "closed";
    if (this.#callEnd !== undefined) this.#call.onClosed({ is: "ended", ...this.#callEnd }, this);
    else this.#call.onClosed({ is: "lost", error, unprocessed: false }, this);
  }
}

/** Why nothing can be written any more to a session whose call ended well. */
const ENDED = failure(Code.Canceled, "the call is over");

/** What the call set, without what every response has. */
function without(headers: HeaderList, head: HeaderList): HeaderList {
  const set = Object.entries(headers).filter(([name]) => !(name in head));
  return set.length === 0 ? NOTHING : Object.fromEntries(set);
}
