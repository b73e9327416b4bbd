import { Code, type ConnectError } from "@connectrpc/connect";
import { failure, handled } from "../failure.ts";
import type { Clock } from "../flow/clock.ts";
import { type Acknowledgements, Acknowledger } from "./acknowledgements.ts";
import type { ServerAttachment } from "./attachment.ts";
import {
  CONTROL,
  headerControl,
  readControl,
  type SessionFrame,
  writeMetadata,
} from "./control.ts";
import { type Ask, type Fields, writeAnswer } from "./headers.ts";
import { type Account, Ledger } from "./ledger.ts";
import { Reason, sessionLost } from "./lost.ts";
import { admit, carries, ended, type Link, lost, unattached } from "./state.ts";
import type { Terms } from "./terms.ts";

/** The call that a session carries, as the server sees it. */
export interface ServedCall<Frame> {
  onFrame(frame: Frame): boolean;
  onHalfClose(): void;
  onProtocolError(error: ConnectError): void;
  onLost(error: ConnectError): void;
  onClosed(): void;
  onHeadersNeeded(): void;
  /** @param usedBytes what is added to the trailers, as HPACK counts it */
  trailers(usedBytes: number): Fields;
  /** The response headers that every response has. */
  base(): Fields;
}

/** Those who keep the sessions of a server. */
export interface Keeper {
  readonly terms: Terms;
  readonly clock: Clock;
  readonly acknowledgements: Acknowledgements;
  readonly account: Account;
  /** The call has ended, and only the client's confirmation is missing. */
  onFinished(id: string): void;
  /** The session is over: nothing can resume it. `settled`: and the client knows, so that it will not try. */
  onOver(id: string, settled: boolean): void;
}

/**
 * The server's half of a session: for the call it is a stream that is never
 * lost until the grace has run out, for the attachments what they carry.
 */
export class ServerSession<Frame extends SessionFrame = SessionFrame> {
  readonly #id: string;
  readonly #keeper: Keeper;
  readonly #call: ServedCall<Frame>;
  readonly #ledger: Ledger;
  readonly #acknowledger: Acknowledger;
  #link: Link = unattached;
  #stream: ServerAttachment | undefined;
  #grace: Disposable | undefined;
  #header: Fields | undefined;
  #trailers: Fields | undefined;
  #halfClosed = false;
  #deaf = false;
  #announcedHeaderBytes = 0;
  #room: PromiseWithResolvers<void> | undefined;
  #failure: ConnectError | undefined;

  /** @param ask what the client asked for with its first attachment */
  constructor(keeper: Keeper, ask: Ask, call: ServedCall<Frame>) {
    this.#id = ask.session;
    this.#keeper = keeper;
    this.#call = call;
    this.#ledger = new Ledger(keeper.terms.window, keeper.account);
    this.#ledger.agree(ask.window);
    this.#acknowledger = new Acknowledger(this.#ledger, keeper.acknowledgements);
  }

  /** Whether only the client's confirmation is missing. */
  get finished(): boolean {
    return this.#trailers !== undefined;
  }

  // What the attachments bring.

  /**
   * A client asks for an attachment. Either `open` is called and the session
   * goes on there, or the error says why not; the session is then as it was.
   */
  attach(ask: Ask, open: () => ServerAttachment): ConnectError | undefined {
    const link = admit(this.#link, ask.attach);
    if (typeof link === "number") return sessionLost(link, this.#ledger.received);
    const violation = this.#ledger.checkResume(ask.received);
    if (violation === "gap") return sessionLost(Reason.GAP, this.#ledger.received);
    if (violation === "above") {
      const what = `the client has received ${ask.received} messages of ${this.#ledger.sent}`;
      return sessionLost(Reason.PROTOCOL_ERROR, this.#ledger.received, what);
    }
    const resumed = this.#link.number > 0;
    // Fence first, then count: from here on the last attachment brings nothing any more.
    this.#link = link;
    this.#grace?.[Symbol.dispose]();
    this.#leave()?.refuse(sessionLost(Reason.TAKEN_OVER, this.#ledger.received));
    const stream = open();
    this.#stream = stream;
    this.#announcedHeaderBytes = stream.announcedHeaderBytes;
    const { received } = this.#ledger;
    const { terms } = this.#keeper;
    const metadata = this.#header !== undefined;
    stream.answer({
      ...this.#call.base(),
      ...this.#header,
      ...writeAnswer({ ...terms, resumed, received, metadata }),
    });
    // Behind the end of the call nobody takes what came.
    if (!this.finished) this.#acknowledger.attach(stream);
    this.#ledger.rewind(ask.received);
    stream.pull(this.#ledger.kept, this.#ledger.kept.bytes + 1);
    if (this.#trailers !== undefined) stream.end(this.#trailers);
    return undefined;
  }

  /** The client cancels the call. */
  cancel(): void {
    const cancelled = failure(Code.Canceled, "the client cancelled the call");
    const stream = this.#leave();
    this.#end(true, cancelled);
    stream?.refuse(cancelled);
  }

  onFrame(number: number, frame: Frame): boolean {
    if (!carries(this.#link, number)) return true;
    if ((frame.flags & CONTROL) !== 0) this.#onControl(frame);
    else if (this.#halfClosed) this.#violated("the client sends a message behind its end");
    else if (!this.#ledger.receive(frame.end - frame.start)) {
      this.#violated("the client sends more than the window holds");
    } else if (this.#deaf) this.#ledger.take(frame.end - frame.start);
    else this.#call.onFrame(frame);
    return true;
  }

  /** The client ended its side of the stream: it has all, or it broke the rules and must come again. */
  onHalfClose(number: number): void {
    if (!carries(this.#link, number)) return;
    if (this.finished) this.#end(true);
    else this.onCutOff(number);
  }

  /** The client ended its side of the stream in the middle of something: it must come again. */
  onCutOff(number: number): void {
    if (!carries(this.#link, number)) return;
    const stream = this.#leave();
    this.onLost(number);
    stream?.refuse(failure(Code.Unavailable, "the stream of a session was half-closed"));
  }

  onProtocolError(number: number, error: ConnectError): void {
    if (carries(this.#link, number)) this.#call.onProtocolError(error);
  }

  /** The stream is gone; the session waits for another. */
  onLost(number: number): void {
    if (!carries(this.#link, number)) return;
    this.#link = lost(this.#link, number);
    this.#leave()?.release();
    if (this.finished) this.#call.onClosed();
    this.#wait(0);
  }

  /** The client was told to come again that much later. */
  postpone(ms: number): void {
    if (this.#link.is === "detached") this.#wait(ms);
  }

  #wait(moreMs: number): void {
    const { clock, terms } = this.#keeper;
    this.#grace?.[Symbol.dispose]();
    this.#grace = clock.startTimer(terms.graceMs + moreMs, () => this.expire());
  }

  /** Nobody came back in time; or nobody must, because memory is needed. */
  expire(): void {
    this.#end(false, sessionLost(Reason.EXPIRED, this.#ledger.acknowledged));
  }

  // What the call does, as it would with a stream.

  get headersSent(): boolean {
    return this.#header !== undefined;
  }

  /** That of the client of the last attachment. */
  get announcedHeaderBytes(): number {
    return this.#announcedHeaderBytes;
  }

  /** The response headers of the handler, once. */
  respond(headers: Fields): void {
    if (this.#header !== undefined) return;
    this.#header = withoutBase(headers, this.#call.base());
    this.#stream?.write(CONTROL, headerControl(writeMetadata(this.#header)));
    // Messages would leave before it.
    this.#stream?.flush();
  }

  write(flags: number, payload: Uint8Array): Promise<void> | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#header === undefined) this.#call.onHeadersNeeded();
    // Headers that cannot be sent end the call.
    if (this.#failure !== undefined) throw this.#failure;
    this.#ledger.push(flags, payload);
    const taken = this.#stream?.pull(this.#ledger.kept, payload.length + 1);
    this.#acknowledger.onSent();
    if (!this.#ledger.full) return taken;
    this.#room ??= Promise.withResolvers();
    return this.#room.promise;
  }

  /** The call has ended. The end is kept until the client confirms it. */
  end(): void {
    if (this.#trailers !== undefined || this.#link.is === "over") return;
    const sent = String(this.#ledger.sent);
    this.#trailers = { ...this.#call.trailers(SENT_BYTES), "hawser-sent": sent };
    this.#acknowledger.detach();
    this.#keeper.onFinished(this.#id);
    if (this.#stream !== undefined) this.#stream.end(this.#trailers);
    else this.#call.onClosed();
  }

  fail(error: ConnectError): void {
    this.#failure ??= error;
    if (this.#room !== undefined) {
      handled(this.#room.promise);
      this.#room.reject(this.#failure);
    }
  }

  stopReading(): void {
    this.#deaf = true;
    this.#ledger.takeAll();
  }

  /** Streams of a session are read without pause: the window holds the client back. */
  readOn(): void {}

  /** The handler took a message. */
  taken(bytes: number): void {
    this.#acknowledger.taken(bytes);
  }

  /** Gives the session up: nobody can resume it. */
  reset(): void {
    const error = failure(Code.Aborted, "the session was given up");
    const stream = this.#leave();
    this.#end(false, error);
    stream?.refuse(error);
  }

  #onControl(frame: Frame): void {
    const control = readControl(frame);
    if (control?.case === "received") {
      if (this.#ledger.acknowledge(Number(control.value)) === "above") {
        this.#violated(`the client acknowledges ${control.value} messages of ${this.#ledger.sent}`);
      } else if (!this.#ledger.full) {
        this.#room?.resolve();
        this.#room = undefined;
      }
    } else if (control?.case === "end") {
      if (Number(control.value) !== this.#ledger.received) {
        this.#violated(
          `the client ends after ${control.value} messages; ${this.#ledger.received} came`,
        );
      } else if (!this.#halfClosed) {
        this.#halfClosed = true;
        if (!this.#deaf) this.#call.onHalfClose();
      }
    } else this.#violated("the client sent a control frame that makes no sense");
  }

  #violated(what: string): void {
    this.#call.onProtocolError(sessionLost(Reason.PROTOCOL_ERROR, this.#ledger.received, what));
  }

  /** Lets go of the stream that carries the session, and gives it to be ended. */
  #leave(): ServerAttachment | undefined {
    const stream = this.#stream;
    this.#stream = undefined;
    this.#acknowledger.detach();
    return stream;
  }

  #end(settled: boolean, error?: ConnectError): void {
    if (this.#link.is === "over") return;
    this.#link = ended(this.#link);
    this.#grace?.[Symbol.dispose]();
    if (error !== undefined && !this.finished) this.#call.onLost(error);
    this.#ledger.close();
    this.#leave();
    this.#keeper.onOver(this.#id, settled);
    this.#call.onClosed();
  }
}

/** What hawser-sent counts, with a number of 16 digits. */
const SENT_BYTES = 64;

const NOTHING: Fields = {};

/** What the handler set, without what every response has. */
function withoutBase(headers: Fields, base: Fields): Fields {
  const set = Object.entries(headers).filter(([name]) => !(name in base));
  return set.length === 0 ? NOTHING : Object.fromEntries(set);
}
