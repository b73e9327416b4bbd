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
import { failure } from "../failure.ts";
import type { Clock } from "../flow/clock.ts";
import type { Acknowledgements } from "./acknowledgements.ts";
import type { ServerAttachment } from "./attachment.ts";
import { CONTROL, headerControl, readControl, writeMetadata } from "./control.ts";
import { type Ask, writeAnswer } from "./headers.ts";
import { Reason, sessionLost } from "./lost.ts";
import { SessionHalf } from "./session-half.ts";
import { type Account, SessionWindow } from "./session-window.ts";
import type { SessionSettings } from "./settings.ts";
import { attachedTo, ended, refusalOf, type ServerPhase } from "./state.ts";

/** What keeps the sessions of a server. */
export interface Keeper {
  readonly settings: SessionSettings;
  readonly clock: Clock;
  readonly acknowledgements: Acknowledgements;
  readonly account: Account;
  /** The call has ended, and only the client's confirmation is missing. */
  onFinished(id: string): void;
  /** The session is over: nothing can resume it. `settled`: the client knows, and will not try to. */
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
export class ServerSession
  extends SessionHalf<ServerAttachment>
  implements ServerCallStream, ServerStreamListener
{
  readonly ownTrailerBytes = SENT_BYTES;
  readonly #id: string;
  readonly #keeper: Keeper;
  readonly #head: HeaderList;
  readonly #call: ServerStreamListener;
  #phase: ServerPhase = "running";
  #grace: Disposable | undefined;
  /** The response headers of the handler, once it has sent them. */
  #headers: HeaderList | undefined;
  /** What the call has ended with. It is kept until the client confirms it. */
  #callEnd: End | undefined;
  #announcedHeaderBytes = 0;
  /** Whether the client has half-closed. */
  #hasHalfClosed = false;

  constructor({ keeper, ask, head }: ServerSessionInit, call: ServerStreamListener) {
    super(new SessionWindow(keeper.settings.window, keeper.account), keeper.acknowledgements);
    this.#id = ask.session;
    this.#keeper = keeper;
    this.#head = head;
    this.#call = call;
    this.window.setPeerWindow(ask.window);
  }

  /** Whether only the client's confirmation is missing. */
  get finished(): boolean {
    return this.#callEnd !== undefined;
  }

  // What the attachments bring.

  /**
   * A client asks for an attachment. Either `open` is called and the session
   * continues there, or the error says why not; the session is then as it was.
   */
  attach(ask: Ask, open: () => ServerAttachment): ConnectError | undefined {
    const refusal = refusalOf(this.attachment, ask.attach);
    if (refusal !== undefined) return sessionLost(refusal, this.window.received);
    const violation = this.window.checkResume(ask.received);
    if (violation === "gap") return sessionLost(Reason.GAP, this.window.received);
    if (violation === "above") {
      const what = `the client has received ${ask.received} messages of ${this.window.sent}`;
      return sessionLost(Reason.PROTOCOL_ERROR, this.window.received, what);
    }
    const resumed = this.attachment.number > 0;
    this.#grace?.[Symbol.dispose]();
    // Fence first, then count: from here on the last attachment brings nothing any more.
    this.takeStream()?.refuse(sessionLost(Reason.TAKEN_OVER, this.window.received));
    const stream = open();
    this.attachment = attachedTo(stream, ask.attach);
    this.#announcedHeaderBytes = stream.announcedHeaderBytes;
    const { received } = this.window;
    const metadata = this.#headers !== undefined;
    const answer = writeAnswer({ ...this.#keeper.settings, resumed, received, metadata });
    stream.sendHeaders({ ...this.#head, ...this.#headers, ...answer });
    // After the end of the call the handler takes nothing.
    if (!this.finished) this.acknowledger.attach(stream);
    this.sendAgain(stream, ask.received);
    if (this.#callEnd !== undefined) stream.endSend(this.#callEnd);
    return undefined;
  }

  /** The client cancels the call. */
  cancel(): void {
    this.#giveUp(true, failure(Code.Canceled, "the client cancelled the call"));
  }

  onMessage(message: Received, from: CallStream): void {
    if (from !== this.attachment.stream) return;
    const bytes = message.end - message.start;
    if ((message.flags & CONTROL) !== 0) this.#onControl(message);
    else if (this.#hasHalfClosed) {
      this.#violated("the client sends a message behind its end");
    } else if (!this.window.receive(bytes)) {
      this.#violated("the client sends more than the window holds");
    } else if (this.finished) this.window.take(bytes);
    else this.#call.onMessage(message, this);
  }

  /**
   * The client ended its side of the stream: it has all. Or it broke the rules, in the middle of a message or of the
   * call, and must attach again.
   */
  onHalfClose(isWhole: boolean, from: CallStream): void {
    const { stream } = this.attachment;
    if (stream === undefined || from !== stream) return;
    if (isWhole && this.finished) {
      this.#over(true);
      return;
    }
    this.#lost();
    stream.refuse(failure(Code.Unavailable, "the stream of a session was half-closed"));
  }

  onInvalid(error: ConnectError, from: CallStream): void {
    if (from === this.attachment.stream) this.#invalid(error);
  }

  onClosed(outcome: Outcome, from: CallStream): void {
    if (from !== this.attachment.stream) return;
    if (outcome.is === "unsendable") this.reset();
    else this.#lost();
  }

  /** The stream is gone; the session waits for another. */
  #lost(): void {
    this.releaseStream();
    if (this.finished) this.#closeCall();
    this.#wait(0);
  }

  /** The client was told to attach that much later. */
  postpone(ms: number): void {
    if (this.attachment.is === "detached") this.#wait(ms);
  }

  #wait(moreMs: number): void {
    const { clock, settings } = this.#keeper;
    this.#grace?.[Symbol.dispose]();
    this.#grace = clock.startTimer(settings.graceMs + moreMs, () => this.expire());
  }

  /** No attachment came within the grace; or the server needs the memory. */
  expire(): void {
    this.#over(false, sessionLost(Reason.EXPIRED, this.window.acknowledged));
  }

  // What the call does, as it would with a stream.

  /** That of the client of the last attachment. */
  get announcedHeaderBytes(): number {
    return this.#announcedHeaderBytes;
  }

  sendHeaders(headers: HeaderList): void {
    if (this.#headers !== undefined) return;
    this.#headers = without(headers, this.#head);
    const { stream } = this.attachment;
    stream?.write(CONTROL, headerControl(writeMetadata(this.#headers)));
    // Messages would leave before it.
    stream?.flush();
  }

  endSend({ status, trailers }: End): void {
    if (this.finished || this.attachment.is === "over") return;
    this.#phase = "ended";
    const sent = { "hawser-sent": String(this.window.sent) };
    this.#callEnd = { status, trailers: { ...without(trailers, this.#head), ...sent } };
    this.window.takeAll();
    this.failWrites(status === "ok" ? ENDED : status);
    this.acknowledger.detach();
    this.#keeper.onFinished(this.#id);
    const { stream } = this.attachment;
    if (stream !== undefined) stream.endSend(this.#callEnd);
    else this.#closeCall();
  }

  /** Gives the session up: it cannot be resumed. */
  reset(): void {
    this.#giveUp(false, failure(Code.Aborted, "the session was given up"));
  }

  #onControl(message: Received): void {
    const control = readControl(message);
    if (control?.case === "received") {
      if (this.window.acknowledge(Number(control.value)) === "above") {
        this.#violated(`the client acknowledges ${control.value} messages of ${this.window.sent}`);
      } else this.wakeWriters();
    } else if (control?.case === "end") {
      if (Number(control.value) !== this.window.received) {
        this.#violated(
          `the client ends after ${control.value} messages; ${this.window.received} came`,
        );
      } else if (!this.#hasHalfClosed) {
        this.#hasHalfClosed = true;
        if (!this.finished) this.#call.onHalfClose(true, this);
      }
    } else this.#violated("the client sent a control frame that makes no sense");
  }

  #violated(what: string): void {
    this.#invalid(sessionLost(Reason.PROTOCOL_ERROR, this.window.received, what));
  }

  #invalid(error: ConnectError): void {
    if (!this.finished) this.#call.onInvalid(error, this);
  }

  /** Ends the session, and its stream with the same error. */
  #giveUp(settled: boolean, error: ConnectError): void {
    const stream = this.takeStream();
    this.#over(settled, error);
    stream?.refuse(error);
  }

  /** @param error why the call is lost, where it has not ended */
  #over(settled: boolean, error: ConnectError = ENDED): void {
    if (this.attachment.is === "over") return;
    this.takeStream();
    this.attachment = ended(this.attachment);
    this.#grace?.[Symbol.dispose]();
    this.failWrites(error);
    this.window.close();
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
