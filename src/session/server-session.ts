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
import { expired, failure, peerFailure } from "../failure.ts";
import type { Clock } from "../flow/clock.ts";
import type { Account } from "../sharing/shared-limit.ts";
import type { Acknowledgements } from "./acknowledgements.ts";
import type { ServerAttachment } from "./attachment.ts";
import {
  CONTROL,
  expiresControl,
  headerControl,
  readControl,
  readMetadata,
  writeMetadata,
} from "./control.ts";
import { type Credentials, CredentialWatch, type ExpiringSession } from "./credential-watch.ts";
import { type Ask, writeAnswer } from "./headers.ts";
import { Reason, sessionLost } from "./lost.ts";
import type { SessionCapacity, WaitingSession } from "./session-capacity.ts";
import { SessionHalf } from "./session-half.ts";
import { SessionWindow } from "./session-window.ts";
import type { SessionSettings } from "./settings.ts";
import { attachedTo, ended, refusalOf, type ServerPhase } from "./state.ts";

/** The owner of the sessions of a server. */
export interface SessionKeeper {
  readonly settings: SessionSettings;
  readonly clock: Clock;
  readonly acknowledgements: Acknowledgements;
  readonly capacity: SessionCapacity;
  /** Called when the call has ended, and only the client's confirmation is missing. */
  onFinished(id: string): void;
  /** Called when the session has ended. `clientKnows`: the client will not try to resume it. */
  onEnded(id: string, clientKnows: boolean): void;
}

export interface ServerSessionInit {
  readonly keeper: SessionKeeper;
  /** Counts the bytes that the session holds. */
  readonly account: Account;
  /** The headers of the first attachment. */
  readonly ask: Ask;
  /** The response headers that every response has. */
  readonly head: HeaderList;
  /** Called when the session has lost its stream, and waits for another. */
  readonly onDetached?: (() => void) | undefined;
}

/** The size of the trailer hawser-sent with a number of 16 digits, as HPACK counts it. */
const SENT_BYTES = 64;

const NOTHING: HeaderList = {};

/**
 * The server's half of a session. The call uses it as a stream, which is lost
 * only when the grace has run out. The session listens to the attachments, one
 * after the other.
 */
export class ServerSession
  extends SessionHalf<ServerAttachment>
  implements ServerCallStream, ServerStreamListener, ExpiringSession, WaitingSession
{
  readonly ownTrailerBytes = SENT_BYTES;
  account: Account;
  readonly #id: string;
  readonly #keeper: SessionKeeper;
  readonly #head: HeaderList;
  readonly #call: ServerStreamListener;
  readonly #onDetached: (() => void) | undefined;
  #phase: ServerPhase = "running";
  #grace: Disposable | undefined;
  /** When the client may attach again, by the clock, if it was asked to wait. */
  #pausedUntilMs = 0;
  /** Undefined if the credentials of the attachment do not expire. */
  #credentials: CredentialWatch | undefined;
  /** The response headers of the handler, once it has sent them. */
  #headers: HeaderList | undefined;
  /** The end of the call, kept until the client confirms it. */
  #callEnd: End | undefined;
  #announcedHeaderBytes = 0;
  /** Whether the client has half-closed. */
  #hasHalfClosed = false;

  constructor(init: ServerSessionInit, call: ServerStreamListener) {
    const { keeper, account, ask, head, onDetached } = init;
    super(new SessionWindow(keeper.settings.window, account), keeper.acknowledgements);
    this.account = account;
    this.#id = ask.session;
    this.#keeper = keeper;
    this.#head = head;
    this.#call = call;
    this.#onDetached = onDetached;
    this.window.setPeerWindow(ask.window);
  }

  /** Whether only the client's confirmation is missing. */
  get finished(): boolean {
    return this.#callEnd !== undefined;
  }

  // ServerStreamListener: called by the attachments, and by the registry.

  /**
   * Attaches the session to the stream that `open` makes. If the attachment is
   * refused, `open` is not called, the session does not change, and the error is
   * returned.
   */
  attach(
    ask: Ask,
    open: () => ServerAttachment,
    credentials?: Credentials,
  ): ConnectError | undefined {
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
    // The previous attachment is detached before the counts are read, so that nothing of it changes them.
    this.takeStream()?.refuse(sessionLost(Reason.TAKEN_OVER, this.window.received));
    const stream = open();
    this.attachment = attachedTo(stream, ask.attach);
    this.#announcedHeaderBytes = stream.announcedHeaderBytes;
    const { received } = this.window;
    const metadata = this.#headers !== undefined;
    const answer = writeAnswer({ ...this.#keeper.settings, resumed, received, metadata });
    stream.sendHeaders({ ...this.#head, ...this.#headers, ...answer });
    // After the end of the call nothing is acknowledged, since the handler takes nothing.
    if (!this.finished) this.acknowledger.attach(stream);
    this.sendAgain(stream, ask.received);
    if (this.#callEnd !== undefined) stream.endSend(this.#callEnd);
    else if (credentials !== undefined) {
      this.#credentials = new CredentialWatch(credentials, this.#keeper.clock, this);
    }
    return undefined;
  }

  // ExpiringSession: called by the CredentialWatch of the attachment.

  sendExpiry(validMs: number): void {
    this.attachment.stream?.write(CONTROL, expiresControl(validMs));
  }

  onExpired(): void {
    this.#invalid(expired());
  }

  onRefused(error: ConnectError): void {
    const { stream } = this.attachment;
    if (stream === undefined || this.finished) return;
    this.#lost();
    stream.refuse(error);
  }

  protected override takeStream(): ServerAttachment | undefined {
    this.#credentials?.[Symbol.dispose]();
    this.#credentials = undefined;
    return super.takeStream();
  }

  /** Has another account count the bytes: the session has moved to another connection. */
  countFor(account: Account): void {
    this.#keeper.capacity.remove(this);
    this.account = account;
    this.window.countFor(account);
    this.wakeWriters();
  }

  /** The bytes that the limits count for this session. */
  get countedBytes(): number {
    return this.window.countedBytes;
  }

  get isAttached(): boolean {
    return this.attachment.is === "attached";
  }

  protected override mustWait(): boolean {
    return this.#keeper.capacity.mustWait(this);
  }

  resumeWrites(): number {
    this.letWrite();
    const { bytes, messages } = this.window.kept;
    return messages === 0 ? 0 : bytes / messages;
  }

  /**
   * Ends the session and its call with an error: the sessions of the server hold too much. The error may be lost with the
   * connection, and the client attach again.
   */
  endOverLimit(error: ConnectError): void {
    this.#giveUp(false, error);
  }

  /** The client cancels the call. */
  cancel(): void {
    this.#giveUp(true, peerFailure(Code.Canceled, "the client cancelled the call"));
  }

  onMessage(message: Received, from: CallStream): void {
    if (from !== this.attachment.stream) return;
    const bytes = message.end - message.start;
    if ((message.flags & CONTROL) !== 0) this.#onControl(message);
    else if (this.#hasHalfClosed) {
      this.#violated("the client sent a message after its half-close");
    } else if (!this.window.receive(bytes)) {
      this.#violated("the client exceeded the session window");
    } else if (this.finished) this.window.take(bytes);
    else this.#call.onMessage(message, this);
  }

  /**
   * The client ended its side of the stream. After the end of the call this confirms the end; in the middle of a
   * message or of the call it breaks the rules, and the client must attach again.
   */
  onHalfClose(isWhole: boolean, from: CallStream): void {
    const { stream } = this.attachment;
    if (stream === undefined || from !== stream) return;
    if (isWhole && this.finished) {
      this.#end(true);
      return;
    }
    this.#lost();
    stream.refuse(peerFailure(Code.Unavailable, "the stream of a session was half-closed"));
  }

  onInvalid(error: ConnectError, from: CallStream): void {
    if (from === this.attachment.stream) this.#invalid(error);
  }

  onClosed(outcome: Outcome, from: CallStream): void {
    if (from !== this.attachment.stream) return;
    if (outcome.is === "unsendable") this.#giveUp(false, givenUp(), outcome);
    else this.#lost();
  }

  /** Ends the attachment, so that the client attaches again. Does nothing after the end of the call. */
  detach(): void {
    const { stream } = this.attachment;
    if (stream === undefined || this.finished) return;
    this.#lost();
    stream.refuse(
      peerFailure(Code.Unavailable, "the connection takes no more calls: attach on another"),
    );
  }

  /** Drops the lost stream, and waits for another. */
  #lost(): void {
    this.releaseStream();
    if (this.finished) this.#closeCall();
    else this.#onDetached?.();
    this.#wait();
  }

  /** Extends the grace, also one that begins later: the client was asked to attach that much later (session.proto, 8). */
  postpone(ms: number): void {
    this.#pausedUntilMs = this.#keeper.clock.now() + ms;
    if (this.attachment.is === "detached") this.#wait();
  }

  #wait(): void {
    const { clock, settings } = this.#keeper;
    const pauseMs = Math.max(this.#pausedUntilMs - clock.now(), 0);
    this.#grace?.[Symbol.dispose]();
    this.#grace = clock.startTimer(settings.graceMs + pauseMs, () => this.expire());
  }

  /** Ends the session: no attachment came within the grace, or the server needs the memory. */
  expire(): void {
    this.#end(false, sessionLost(Reason.EXPIRED, this.window.acknowledged));
  }

  // ServerCallStream: called by the call.

  /** Announced by the client on the last attachment. */
  get announcedHeaderBytes(): number {
    return this.#announcedHeaderBytes;
  }

  sendHeaders(headers: HeaderList): void {
    if (this.#headers !== undefined) return;
    this.#headers = without(headers, this.#head);
    this.attachment.stream?.write(CONTROL, headerControl(writeMetadata(this.#headers)));
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

  /** Ends the session: it cannot be resumed. */
  reset(): void {
    this.#giveUp(false, givenUp());
  }

  #onControl(message: Received): void {
    const control = readControl(message);
    if (control?.case === "received") {
      if (this.acknowledge(Number(control.value)) === "above") {
        this.#violated(`the client acknowledges ${control.value} messages of ${this.window.sent}`);
      } else this.wakeWriters();
    } else if (control?.case === "end") {
      if (Number(control.value) !== this.window.received) {
        this.#violated(
          `the client says it sent ${control.value} messages, but ${this.window.received} arrived`,
        );
      } else if (!this.#hasHalfClosed) {
        this.#hasHalfClosed = true;
        if (!this.finished) this.#call.onHalfClose(true, this);
      }
    } else if (control?.case === "renewal" && this.#credentials !== undefined) {
      const headers = readMetadata(control.value);
      if (headers === undefined) this.#violated("the client renewed with headers that are invalid");
      else this.#credentials.renew(headers);
    } else
      this.#violated("the client sent a control frame that is malformed or not allowed to clients");
  }

  #violated(what: string): void {
    this.#invalid(sessionLost(Reason.PROTOCOL_ERROR, this.window.received, what));
  }

  #invalid(error: ConnectError): void {
    if (!this.finished) this.#call.onInvalid(error, this);
  }

  /**
   * Ends the session and its stream with an error.
   *
   * @param outcome as for #closeCall()
   */
  #giveUp(clientKnows: boolean, error: ConnectError, outcome: Outcome = lost(error)): void {
    const stream = this.takeStream();
    this.#end(clientKnows, error, outcome);
    stream?.refuse(error);
  }

  /**
   * @param error the error of later writes
   * @param outcome as for #closeCall()
   */
  #end(clientKnows: boolean, error: ConnectError = ENDED, outcome: Outcome = lost(error)): void {
    if (this.attachment.is === "over") return;
    this.takeStream();
    this.attachment = ended(this.attachment);
    this.#grace?.[Symbol.dispose]();
    this.failWrites(error);
    this.#keeper.capacity.remove(this);
    this.window.close();
    this.#keeper.onEnded(this.#id, clientKnows);
    this.#closeCall(outcome);
  }

  /** @param outcome how the call ended, if it has not ended before, or if its end could not be sent */
  #closeCall(outcome: Outcome = lost(ENDED)): void {
    if (this.#phase === "closed") return;
    this.#phase = "closed";
    const end = outcome.is === "unsendable" ? undefined : this.#callEnd;
    this.#call.onClosed(end === undefined ? outcome : { is: "ended", ...end }, this);
  }
}

/** Why nothing can be written any more to a session whose call ended well. */
const ENDED = failure(Code.Canceled, "the call is over");

function lost(error: ConnectError): Outcome {
  return { is: "lost", error, unprocessed: false };
}

function givenUp(): ConnectError {
  return failure(Code.Aborted, "the session was given up");
}

/** Returns the headers that the call set, without those that every response has. */
function without(headers: HeaderList, head: HeaderList): HeaderList {
  const set = Object.entries(headers).filter(([name]) => !(name in head));
  return set.length === 0 ? NOTHING : Object.fromEntries(set);
}
