import { Code, ConnectError } from "@connectrpc/connect";
import type { Metadata } from "../../gen/hawser/v1/session_pb.js";
import type {
  CallStream,
  ClientCallListener,
  ClientCallStream,
  ClientStreamListener,
  HeaderList,
  Outcome,
  Received,
  Status,
} from "../call-stream.ts";
import { asFailure, failure } from "../failure.ts";
import type { Clock } from "../flow/clock.ts";
import type { Acknowledgements } from "./acknowledgements.ts";
import type {
  ClientAttachment,
  Dialler,
  Dialling,
  OpenAttachment,
  OpenSession,
  SessionWatcher,
  SettingsWatcher,
} from "./attachment.ts";
import {
  type ClientKnowledge,
  expired,
  judgeAnswer,
  judgeCount,
  judgeEnd,
  judgeMetadata,
} from "./attachment-verdicts.ts";
import { CONTROL, endControl, readControl } from "./control.ts";
import { type Answer, dropOwn, withoutOwn } from "./headers.ts";
import { SessionIdentity } from "./identity.ts";
import { Reason, sessionLost } from "./lost.ts";
import { Redial, type Redialled } from "./redial.ts";
import { SessionHalf } from "./session-half.ts";
import { type Account, SessionWindow, type Window } from "./session-window.ts";
import type { NegotiatedSettings } from "./settings.ts";
import {
  type AttachmentState,
  answered,
  type ClientPhase,
  ended,
  isUnreached,
  mayBeginAgain,
  opened,
  reached,
  unattached,
} from "./state.ts";

export interface ClientSessionInit {
  /** Makes an id of a session: 128 random bits in hexadecimal digits. */
  readonly newId: () => string;
  readonly server: NegotiatedSettings;
  readonly window: Window;
  readonly clock: Clock;
  readonly acknowledgements: Acknowledgements;
  readonly dialler: Dialler;
  readonly call: ClientCallListener;
  readonly watcher: SessionWatcher | undefined;
}

/** How often a session that no server has begun is tried again (gRPC A6, transparent retry). */
const TRANSPARENT_RETRIES = 3;

const NO_ACCOUNT: Account = { bytes: 0 };

/** How often a call is begun anew because the server took its session for too old: see #onExpired(). */
const NEW_SESSIONS_MAX = 2;

/**
 * The client's half of a session: for the call it is a stream that is never
 * lost until the server's grace has run out; it opens one attachment after the
 * other.
 */
export class ClientSession
  extends SessionHalf<ClientAttachment>
  implements
    ClientCallStream,
    ClientStreamListener,
    Dialling,
    OpenSession,
    Redialled,
    SettingsWatcher
{
  readonly #init: ClientSessionInit;
  readonly #identity: SessionIdentity;
  #redial: Redial;
  #newSessions = 0;
  #phase: ClientPhase = "waiting";
  /** How often a server did nothing for attachment 1. */
  #refusals = 0;
  /** The response headers that are not the handler's, until the call is told its headers. */
  #base: HeaderList = {};
  /** How many messages the server is known to have. */
  #arrived = 0;

  constructor(init: ClientSessionInit) {
    super(new SessionWindow(init.window, NO_ACCOUNT), init.acknowledgements);
    this.#init = init;
    this.#identity = new SessionIdentity(init.newId, init.server, init.clock);
    this.window.setPeerWindow(init.server.window);
    this.#redial = new Redial(init.clock, init.server.graceMs, this);
  }

  get state(): AttachmentState<unknown>["is"] {
    return this.attachment.is;
  }

  get isWanted(): boolean {
    return this.attachment.is !== "over";
  }

  start(): void {
    this.#init.dialler.add(this);
    this.onDue();
  }

  // What the call does, as it would with a stream.

  endSend(): void {
    this.window.end();
    this.attachment.outgoing?.write(CONTROL, endControl(this.window.sent));
  }

  /** The call is over; where the server did not end it, it is told. */
  reset(reason: ConnectError): void {
    this.failWrites(reason);
    if (this.attachment.is === "over") return;
    this.#close(reason)?.reset(reason);
    this.#cancel();
  }

  /** The transport is closed: the call fails, and the server is told. */
  leave(reason: ConnectError): void {
    this.#fail(reason);
  }

  // What the dialler brings.

  onReached(): void {
    this.attachment = reached(this.attachment);
  }

  onConnection(open: OpenAttachment): boolean {
    if (this.attachment.is !== "detached") return true;
    const stream = open(this.#ask(false), this);
    if (stream === undefined) {
      this.onReached();
      // Nothing was sent: the session is opened with its first attachment.
      if (this.attachment.number === 0) this.#identity.reopen();
      return false;
    }
    const isFirst = this.attachment.number === 0 && this.#refusals === 0;
    this.attachment = opened(this.attachment, stream, isFirst);
    if (isFirst) {
      this.acknowledger.attach(stream);
      // A session that takes the place of one that never began has all of the call to send.
      if (this.#phase !== "waiting") this.#sendAllAgain(stream, 0);
    }
    if (this.#phase !== "waiting") return true;
    this.#phase = "open";
    this.#init.call.onOpen();
    return true;
  }

  onUnreachable(error: ConnectError): void {
    if (this.attachment.is === "over") return;
    if (error.code !== Code.Unavailable || isUnreached(this.attachment)) this.#fail(error);
    else this.#lost();
  }

  // What the attachments bring.

  onHeaders(headers: HeaderList, from: CallStream): void {
    const { stream } = this.attachment;
    if (stream === undefined || from !== stream) return;
    const answer = judgeAnswer(headers, this.#known);
    if (answer instanceof ConnectError) this.#fail(answer);
    else this.#resume(stream, answer, headers);
  }

  #resume(stream: ClientAttachment, answer: Answer, headers: HeaderList): void {
    const flows = this.attachment.outgoing !== undefined;
    this.attachment = answered(this.attachment);
    this.#identity.answered(answer.epoch);
    // Another process than Negotiate asked may have another window.
    this.window.setPeerWindow(answer.window);
    this.#redial.answered(answer.received > this.#arrived);
    if (this.#phase !== "answered") this.#base = headers;
    this.#arrived = Math.max(this.#arrived, answer.received);
    if (answer.metadata) this.#tellHeaders();
    if (!flows) {
      this.acknowledger.attach(stream);
      this.#sendAllAgain(stream, answer.received);
    }
    this.#init.watcher?.onSessionState("open");
  }

  /** Sends all that follows the first `received` messages, the half-close too. */
  #sendAllAgain(stream: ClientAttachment, received: number): void {
    this.sendAgain(stream, received);
    if (this.window.ended) stream.write(CONTROL, endControl(this.window.sent));
  }

  onMessage(message: Received, from: CallStream): void {
    if (from !== this.attachment.stream) return;
    if (this.#redial.hasFailed) this.#redial.delivered();
    if ((message.flags & CONTROL) !== 0) {
      this.#onControl(message);
      return;
    }
    if (this.#phase !== "answered") this.#tellHeaders();
    const bytes = message.end - message.start;
    if (this.window.receive(bytes)) this.#init.call.onMessage(message, this);
    else this.#violated("the server sends more than the window holds");
  }

  #onControl(message: Received): void {
    const control = readControl(message);
    if (control?.case === "received") this.#onAcknowledged(Number(control.value));
    else if (control?.case === "header") this.#onMetadata(control.value);
    else this.#violated("the server sent a control frame that makes no sense");
  }

  #onAcknowledged(count: number): void {
    const error = judgeCount(count, this.window.acknowledge(count), this.#known);
    if (error !== undefined) {
      this.#fail(error);
      return;
    }
    this.#arrived = Math.max(this.#arrived, count);
    this.wakeWriters();
  }

  /** The response headers of the handler. */
  #onMetadata(metadata: Metadata): void {
    const set = judgeMetadata(metadata, this.#base, this.#known);
    if (set instanceof ConnectError) this.#fail(set);
    else this.#tellHeaders(set);
  }

  onInvalid(error: ConnectError, from: CallStream): void {
    if (from !== this.attachment.stream) return;
    if (error.code === Code.Unavailable) {
      this.#lost();
      from.reset(error);
    } else this.#fail(error);
  }

  onClosed(outcome: Outcome, from: CallStream): void {
    if (from !== this.attachment.stream) return;
    if (outcome.is === "ended") this.#onEnd(outcome.status, outcome.trailers);
    else if (outcome.is === "unsendable") this.#fail(asFailure(outcome.error));
    else if (!outcome.unprocessed || !mayBeginAgain(this.attachment)) this.#lost();
    else if (this.#refusals++ < TRANSPARENT_RETRIES) this.#beginElsewhere();
    else this.#fail(outcome.error);
  }

  #onEnd(status: Status, trailers: HeaderList): void {
    const end = judgeEnd(status, trailers, this.#known);
    if (end.is === "call ended") this.#finish(status, trailers);
    else if (end.is === "attachment ended") this.#lost(end.waitMs);
    else if (end.is === "expired") this.#onExpired();
    else this.#fail(end.error, !end.serverKnows);
  }

  /**
   * To the server the session looks older than its grace, and it does not know it. Where that is said of attachment 1 no
   * handler has run (session.proto, 4h): most likely this machine slept since Negotiate, and its clock stood still. The
   * server is asked for its settings again, and another session takes the place of this one, with all that was sent.
   */
  #onExpired(): void {
    if (this.attachment.number > 1 || this.#newSessions === NEW_SESSIONS_MAX) {
      this.#fail(expired(), false);
      return;
    }
    this.#newSessions++;
    // Its grace may run, where the session had been begun elsewhere; what comes has a grace of its own.
    this.#redial.stop();
    this.releaseStream();
    this.attachment = unattached;
    this.#init.dialler.renegotiate(this.#identity.openedMs as number, this);
  }

  onSettings(settings: NegotiatedSettings): void {
    if (this.attachment.is === "over") return;
    this.#identity.replace(settings);
    this.window.setPeerWindow(settings.window);
    this.wakeWriters();
    this.#redial = new Redial(this.#init.clock, settings.graceMs, this);
    this.onDue();
  }

  onNoSettings(error?: ConnectError): void {
    if (error === undefined) this.#fail(expired(), false);
    else this.#fail(error);
  }

  /** The server did nothing for attachment 1, as one that drains: no server knows the session. */
  #beginElsewhere(): void {
    this.releaseStream();
    this.attachment = unattached;
    this.#identity.reopen();
    this.#init.dialler.unbind();
    this.#redial.lost();
  }

  /** The stream is gone, or there was none: another one, soon. */
  #lost(waitMs?: number): void {
    this.releaseStream();
    this.#redial.lost(waitMs);
  }

  // What the redial tells.

  onResuming(): void {
    this.#init.watcher?.onSessionState("resuming");
  }

  onGivenUp(): void {
    this.#fail(sessionLost(Reason.UNREACHABLE, this.#arrived), false);
  }

  /** It is time to open the next attachment. */
  onDue(): void {
    if (this.attachment.is !== "detached") return;
    this.#redial.dialled();
    this.#init.dialler.dial(this);
  }

  get #known(): ClientKnowledge {
    return { identity: this.#identity, window: this.window, arrived: this.#arrived };
  }

  #ask(cancel: boolean): Record<string, string> {
    return this.#identity.ask({
      attach: this.attachment.number + 1,
      received: this.window.received,
      window: this.#init.window,
      cancel,
    });
  }

  /** Tells the call its response headers, once. */
  #tellHeaders(set?: HeaderList): void {
    if (this.#phase === "answered") return;
    this.#phase = "answered";
    const base = withoutOwn(this.#base);
    this.#base = {};
    this.#init.call.onHeaders(set === undefined ? base : Object.assign(base, set), this);
  }

  #finish(status: Status, trailers: HeaderList): void {
    if (status === "ok") this.#tellHeaders();
    else dropOwn(status.metadata);
    const stopped = failure(Code.FailedPrecondition, "the server has ended the call");
    const error = status === "ok" ? stopped : status;
    const stream = this.#close(error);
    // The server frees the session when this side has ended, too.
    stream?.endSend();
    stream?.reset(error);
    this.#init.call.onClosed({ is: "ended", status, trailers: withoutOwn(trailers) }, this);
  }

  #violated(what: string): void {
    this.#fail(sessionLost(Reason.PROTOCOL_ERROR, this.#arrived, what));
  }

  /** @param tell whether the server must be told that the session has ended */
  #fail(error: ConnectError, tell = true): void {
    if (this.attachment.is === "over") return;
    this.#close(error)?.reset(error);
    if (tell) this.#cancel();
    this.#init.call.onClosed({ is: "lost", error, unprocessed: false }, this);
  }

  /** Tells the server not to wait for another attachment. */
  #cancel(): void {
    if (this.attachment.number === 0) return;
    this.#init.dialler.tell(this.#ask(true), this.#identity.graceMs);
  }

  /** Ends the session here, and returns its stream to be ended. */
  #close(error: ConnectError): ClientAttachment | undefined {
    const stream = this.takeStream();
    this.attachment = ended(this.attachment);
    this.#init.dialler.remove(this);
    this.#redial.stop();
    this.failWrites(error);
    this.window.close();
    return stream;
  }
}
