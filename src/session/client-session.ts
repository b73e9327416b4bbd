import { Code, ConnectError } from "@connectrpc/connect";
import type { Metadata } from "../../gen/hawser/v1/session_pb.js";
import type {
  CallStream,
  ClientCallStream,
  ClientStreamListener,
  HeaderList,
  Outcome,
  Received,
  Status,
} from "../call-stream.ts";
import { asFailure, peerFailure } from "../failure.ts";
import type {
  ClientAttachment,
  OpenAttachment,
  OpenSession,
  SettingsWatcher,
  WaitingForConnection,
} from "./attachment.ts";
import {
  type ClientKnowledge,
  expiredError,
  judgeAnswer,
  judgeCount,
  judgeEnd,
  judgeMetadata,
} from "./attachment-verdicts.ts";
import { Beginnings } from "./beginnings.ts";
import type { ClientSessionInit } from "./client-session-init.ts";
import { CONTROL, endControl, readControl, renewalControl } from "./control.ts";
import { CredentialRenewal } from "./credential-renewal.ts";
import { type Answer, dropOwn, withoutOwn } from "./headers.ts";
import { SessionIdentity } from "./identity.ts";
import { Reason, sessionLost } from "./lost.ts";
import { Redial, type RedialListener } from "./redial.ts";
import { SessionHalf } from "./session-half.ts";
import { SessionWindow, UNCOUNTED } from "./session-window.ts";
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

/**
 * The client's half of a session. The call uses it as one stream that survives lost connections until the server's grace runs
 * out. A protocol error also ends it. The session opens one attachment after the other.
 */
export class ClientSession
  extends SessionHalf<ClientAttachment>
  implements
    ClientCallStream,
    ClientStreamListener,
    WaitingForConnection,
    OpenSession,
    RedialListener,
    SettingsWatcher
{
  readonly #init: ClientSessionInit;
  readonly #identity: SessionIdentity;
  #redial: Redial;
  /** Undefined until the server says that the caller's credentials expire. */
  #renewal: CredentialRenewal | undefined;
  readonly #beginnings = new Beginnings();
  #phase: ClientPhase = "waiting";
  /** The HTTP headers of the latest answer, kept until the call gets them. */
  #httpHeaders: HeaderList | undefined;
  /** The number of messages that the server is known to have. */
  #serverHas = 0;

  constructor(init: ClientSessionInit) {
    super(new SessionWindow(init.window, UNCOUNTED), init.acknowledgements);
    this.#init = init;
    this.#identity = new SessionIdentity(init);
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

  // ClientCallStream: called by the call.

  endSend(): void {
    this.window.end();
    this.attachment.outgoing?.write(CONTROL, endControl(this.window.sent));
  }

  /** Ends the session. Tells the server, unless the server ended the call itself. */
  reset(reason: ConnectError): void {
    this.failWrites(reason);
    if (this.attachment.is === "over") return;
    this.#close(reason)?.reset(reason);
    this.#cancel();
  }

  /** Fails the call, and cancels the session at the server: the transport is closed. */
  leave(reason: ConnectError): void {
    this.#fail(reason);
  }

  expectNetwork(): void {
    this.#redial.endPause();
  }

  // WaitingForConnection: called by the Dialler.

  onReached(): void {
    this.attachment = reached(this.attachment);
  }

  onConnection(open: OpenAttachment): boolean {
    if (this.attachment.is !== "detached") return true;
    const stream = open(this.#requestHeaders(false), this);
    if (stream === undefined) {
      this.onReached();
      // Nothing was sent: the next attachment opens the session.
      if (this.attachment.number === 0) this.#identity.reopen();
      return false;
    }
    const sendsBeforeAnswer = this.attachment.number === 0 && !this.#beginnings.wasRefused;
    this.attachment = opened(this.attachment, stream, sendsBeforeAnswer);
    if (sendsBeforeAnswer) {
      this.acknowledger.attach(stream);
      // Attachment 1 of a replacement after #onExpired(): the call has written already, so all of it is sent again.
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

  // ClientStreamListener: called by the attachments.

  onHeaders(headers: HeaderList, from: CallStream): void {
    const { stream } = this.attachment;
    if (stream === undefined || from !== stream) return;
    const answer = judgeAnswer(headers, this.#known);
    if (answer instanceof ConnectError) this.#fail(answer);
    else this.#resume(stream, answer, headers);
  }

  #resume(stream: ClientAttachment, answer: Answer, headers: HeaderList): void {
    const isSending = this.attachment.outgoing !== undefined;
    this.attachment = answered(this.attachment);
    this.#identity.onAnswer(answer.epoch);
    // The server process may differ from the one that Negotiate asked, and so may its window.
    this.window.setPeerWindow(answer.window);
    this.#redial.onAnswer(answer.received > this.#serverHas);
    if (this.#phase !== "headersGiven") this.#httpHeaders = headers;
    this.#serverHas = Math.max(this.#serverHas, answer.received);
    if (answer.metadata) this.#giveHeaders();
    if (!isSending) {
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
    if (this.#redial.hasFailed) this.#redial.onArrival();
    if ((message.flags & CONTROL) !== 0) {
      this.#onControl(message);
      return;
    }
    if (this.#phase !== "headersGiven") this.#giveHeaders();
    const bytes = message.end - message.start;
    if (this.window.receive(bytes)) this.#init.call.onMessage(message, this);
    else this.#violated("the server exceeded the session window");
  }

  #onControl(message: Received): void {
    const control = readControl(message);
    if (control?.case === "received") this.#onAcknowledged(Number(control.value));
    else if (control?.case === "header") this.#onMetadata(control.value);
    else if (control?.case === "expires") this.#onExpires(Number(control.value));
    else
      this.#violated("the server sent a control frame that is malformed or not allowed to servers");
  }

  #onAcknowledged(count: number): void {
    const error = judgeCount(count, this.acknowledge(count), this.#known);
    if (error !== undefined) {
      this.#fail(error);
      return;
    }
    this.#serverHas = Math.max(this.#serverHas, count);
    this.wakeWriters();
  }

  /** The handler's response headers arrived in a control frame. */
  #onMetadata(metadata: Metadata): void {
    const handlerHeaders = judgeMetadata(metadata, this.#httpHeaders ?? {}, this.#known);
    if (handlerHeaders instanceof ConnectError) this.#fail(handlerHeaders);
    else this.#giveHeaders(handlerHeaders);
  }

  #onExpires(validMs: number): void {
    const { clock, dialler } = this.#init;
    this.#renewal ??= new CredentialRenewal(clock, dialler, (headers) => {
      this.attachment.outgoing?.write(CONTROL, renewalControl(headers));
    });
    this.#renewal.onExpires(validMs);
  }

  protected override takeStream(): ClientAttachment | undefined {
    this.#renewal?.stop();
    return super.takeStream();
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
    else if (this.#beginnings.mayRepeat()) this.#beginElsewhere();
    else this.#fail(outcome.error);
  }

  #onEnd(status: Status, trailers: HeaderList): void {
    const end = judgeEnd(status, trailers, this.#known);
    if (end.is === "call ended") this.#finish(status, trailers);
    else if (end.is === "attachment ended") this.#lost(end.waitMs);
    else if (end.is === "expired") this.#onExpired();
    else if (end.is === "full") this.#onFull(end.error);
    else this.#fail(end.error, !end.serverKnows);
  }

  /**
   * The server takes no more sessions. If this was attachment 1, no handler has run (session.proto, 4i): the call
   * continues without a session, if it may.
   */
  #onFull(error: ConnectError): void {
    dropOwn(error.metadata);
    const { continueWithout } = this.#init;
    if (this.attachment.number > 1 || continueWithout === undefined) this.#fail(error, false);
    else {
      this.#redial.stop();
      this.#init.dialler.remove(this);
      continueWithout(this.handOver());
    }
  }

  /**
   * The server does not know the session, and according to its clock the session is older than the grace. For
   * attachment 1 this means that no handler has run (session.proto, 4h). Most likely this machine slept after
   * Negotiate, while its clock stood still. Asks for the settings again, and replaces this session by a new one that
   * sends everything.
   */
  #onExpired(): void {
    if (this.attachment.number > 1 || !this.#beginnings.mayReplace()) {
      this.#fail(expiredError(), false);
      return;
    }
    // The grace timer runs if #beginElsewhere() was called before. The new session starts its own.
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
    if (error === undefined) this.#fail(expiredError(), false);
    else this.#fail(error);
  }

  /** The server did not process attachment 1 (it may drain). No server knows the session, so any may start it. */
  #beginElsewhere(): void {
    this.releaseStream();
    this.attachment = unattached;
    this.#identity.reopen();
    this.#init.dialler.unbind();
    this.#redial.onLost();
  }

  /** Drops the lost stream, if there is one, and schedules the next attachment. */
  #lost(waitMs?: number): void {
    this.releaseStream();
    this.#redial.onLost(waitMs);
  }

  // RedialListener: called by Redial.

  onResuming(): void {
    this.#init.watcher?.onSessionState("resuming");
  }

  onGivenUp(): void {
    this.#fail(sessionLost(Reason.UNREACHABLE, this.#serverHas), false);
  }

  /** Asks the dialler for a connection, on which the next attachment is opened. */
  onDue(): void {
    if (this.attachment.is !== "detached") return;
    this.#redial.onDial();
    this.#init.dialler.dial(this);
  }

  get #known(): ClientKnowledge {
    return { identity: this.#identity, window: this.window, arrived: this.#serverHas };
  }

  #requestHeaders(cancel: boolean): Record<string, string> {
    const { received } = this.window;
    return this.#identity.ask({ attach: this.attachment.number + 1, received, cancel });
  }

  /** Gives the call its response headers, once. */
  #giveHeaders(handlerHeaders: HeaderList = {}): void {
    if (this.#phase === "headersGiven") return;
    this.#phase = "headersGiven";
    const headers = withoutOwn(this.#httpHeaders ?? {});
    this.#httpHeaders = undefined;
    this.#init.call.onHeaders(Object.assign(headers, handlerHeaders), this);
  }

  #finish(status: Status, trailers: HeaderList): void {
    if (status === "ok") this.#giveHeaders();
    else dropOwn(status.metadata);
    const stopped = peerFailure(Code.FailedPrecondition, "the server has ended the call");
    const error = status === "ok" ? stopped : status;
    const stream = this.#close(error);
    // The half-close confirms the end: the server then frees the session.
    stream?.endSend();
    stream?.reset(error);
    this.#init.call.onClosed({ is: "ended", status, trailers: withoutOwn(trailers) }, this);
  }

  #violated(what: string): void {
    this.#fail(sessionLost(Reason.PROTOCOL_ERROR, this.#serverHas, what));
  }

  /** @param mustCancel whether the session must be cancelled at the server */
  #fail(error: ConnectError, mustCancel = true): void {
    if (this.attachment.is === "over") return;
    this.#close(error)?.reset(error);
    if (mustCancel) this.#cancel();
    this.#init.call.onClosed({ is: "lost", error, unprocessed: false }, this);
  }

  /** Cancels the session at the server, which then waits for no other attachment. */
  #cancel(): void {
    if (this.attachment.number === 0) return;
    this.#init.dialler.sendCancel(this.#requestHeaders(true), this.#identity.graceMs);
  }

  /** Ends the session, and returns its stream, which the caller must end. */
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
