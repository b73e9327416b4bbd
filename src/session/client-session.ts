import { Code, type ConnectError } from "@connectrpc/connect";
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
import { asFailure, failure, handled, tooManyFields } from "../failure.ts";
import type { Clock } from "../flow/clock.ts";
import { PREFIX_BYTES } from "../flow/length-prefix.ts";
import { type Acknowledgements, Acknowledger } from "./acknowledgements.ts";
import type {
  ClientAttachment,
  Dialler,
  Dialling,
  OpenAttachment,
  OpenSession,
} from "./attachment.ts";
import { CONTROL, endControl, readControl, readMetadata } from "./control.ts";
import { type Answer, dropOwn, readAnswer, readSent, withoutOwn } from "./headers.ts";
import { SessionIdentity } from "./identity.ts";
import { Reason, readSessionLost, sessionLost } from "./lost.ts";
import { Redial, type Redialled } from "./redial.ts";
import { type Account, SessionWindow, type Violation, type Window } from "./session-window.ts";
import type { NegotiatedSettings } from "./settings.ts";
import {
  answered,
  type ClientPhase,
  detached,
  ended,
  flowOf,
  type Link,
  mayBeginAgain,
  opened,
  streamOf,
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

/** Who wants to know where a session stands. */
export interface SessionWatcher {
  /** The session goes on over a stream, or looks for one. */
  onSessionState(state: "open" | "resuming"): void;
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
  implements ClientCallStream, ClientStreamListener, Dialling, OpenSession, Redialled
{
  readonly #init: ClientSessionInit;
  readonly #window: SessionWindow;
  readonly #acknowledger: Acknowledger;
  readonly #identity: SessionIdentity;
  #redial: Redial;
  #newSessions = 0;
  #link: Link<ClientAttachment> = unattached;
  #phase: ClientPhase = "waiting";
  /** How often a server did nothing for attachment 1. */
  #refusals = 0;
  /** The response headers that every response has, until the call is told them. */
  #base: HeaderList = {};
  #capacity: PromiseWithResolvers<void> | undefined;
  /** With what every write fails. */
  #failure: ConnectError | undefined;
  /** How many messages the server is known to have. */
  #arrived = 0;

  constructor(init: ClientSessionInit) {
    this.#init = init;
    this.#identity = new SessionIdentity(init.newId, init.server, init.clock);
    this.#window = new SessionWindow(init.window, NO_ACCOUNT);
    this.#window.setPeerWindow(init.server.window);
    this.#acknowledger = new Acknowledger(this.#window, init.acknowledgements);
    this.#redial = new Redial(init.clock, init.server.graceMs, this);
  }

  get state(): Link<unknown>["is"] {
    return this.#link.is;
  }

  get isWanted(): boolean {
    return this.#link.is !== "over";
  }

  start(): void {
    this.#init.dialler.add(this);
    this.onDue();
  }

  // What the call does, as it would with a stream.

  write(flags: number, payload: Uint8Array): Promise<void> | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    this.#window.push(flags, payload);
    const stream = flowOf(this.#link);
    const written = stream?.pull(this.#window.kept, payload.length + PREFIX_BYTES);
    this.#acknowledger.onSent();
    if (!this.#window.full) return written;
    this.#capacity ??= Promise.withResolvers();
    return this.#capacity.promise;
  }

  endSend(): void {
    this.#window.end();
    flowOf(this.#link)?.write(CONTROL, endControl(this.#window.sent));
  }

  taken(bytes: number): void {
    if (this.#window.take(bytes)) this.#acknowledger.now();
    else this.#acknowledger.soon();
  }

  /** The call is over; where the server did not end it, it is told. */
  reset(reason: ConnectError): void {
    this.#failure ??= reason;
    if (this.#link.is === "over") return;
    this.#close(reason)?.reset(reason);
    this.#cancel();
  }

  /** The transport is closed: the call fails, and the server is told. */
  leave(reason: ConnectError): void {
    this.#fail(reason);
  }

  // What the attachments bring.

  onConnection(open: OpenAttachment): boolean {
    if (this.#link.is !== "detached") return true;
    const stream = open(this.#ask(false), this);
    if (stream === undefined) return false;
    const isFirst = this.#link.number === 0 && this.#refusals === 0;
    this.#link = opened(this.#link, stream, isFirst);
    if (isFirst) {
      this.#acknowledger.attach(stream);
      // A session that takes the place of one that never began has all of the call to send.
      if (this.#phase !== "waiting") this.#sendAgain(stream, 0);
    }
    if (this.#phase !== "waiting") return true;
    this.#phase = "open";
    this.#init.call.onOpen();
    return true;
  }

  onUnreachable(error: ConnectError): void {
    if (this.#link.is === "over") return;
    if (error.code !== Code.Unavailable || this.#link.number === 0) this.#fail(error);
    else this.#lost();
  }

  onHeaders(headers: HeaderList, from: CallStream): void {
    const stream = streamOf(this.#link);
    if (stream === undefined || from !== stream) return;
    let answer: Answer | undefined;
    try {
      answer = readAnswer(headers);
    } catch (error) {
      this.#fail(asFailure(error));
      return;
    }
    if (answer === undefined) {
      this.#fail(
        failure(Code.Internal, "the server keeps no sessions any more: make the call again"),
      );
      return;
    }
    const another = this.#identity.isAnswered
      ? !answer.resumed || answer.epoch !== this.#identity.epoch
      : !answer.resumed && answer.received > 0;
    if (another) {
      this.#violated("the server answered with another session");
      return;
    }
    if (this.#checked(this.#window.checkResume(answer.received), answer.received)) return;
    this.#resume(stream, answer, headers);
  }

  #resume(stream: ClientAttachment, answer: Answer, headers: HeaderList): void {
    const flows = flowOf(this.#link) !== undefined;
    this.#link = answered(this.#link);
    this.#identity.answered(answer.epoch);
    // Another process than Negotiate asked may have another window.
    this.#window.setPeerWindow(answer.window);
    this.#redial.answered(answer.received > this.#arrived);
    if (this.#phase !== "answered") this.#base = headers;
    this.#arrived = Math.max(this.#arrived, answer.received);
    if (answer.metadata) this.#tellHeaders();
    if (!flows) {
      this.#acknowledger.attach(stream);
      this.#sendAgain(stream, answer.received);
    }
    this.#init.watcher?.onSessionState("open");
  }

  /** Sends all that follows the first `received` messages. */
  #sendAgain(stream: ClientAttachment, received: number): void {
    const { kept, ended, sent } = this.#window;
    this.#window.rewind(received);
    stream.pull(kept, kept.framedBytes);
    if (ended) stream.write(CONTROL, endControl(sent));
  }

  onMessage(message: Received, from: CallStream): void {
    if (from !== streamOf(this.#link)) return;
    const bytes = message.end - message.start;
    from.taken(bytes);
    this.#redial.delivered();
    if ((message.flags & CONTROL) !== 0) {
      this.#onControl(message);
      return;
    }
    if (this.#phase !== "answered") this.#tellHeaders();
    if (this.#window.receive(bytes)) this.#init.call.onMessage(message, this);
    else this.#violated("the server sends more than the window holds");
  }

  #onControl(message: Received): void {
    const control = readControl(message);
    if (control?.case === "received") {
      const count = Number(control.value);
      if (this.#checked(this.#window.acknowledge(count), count)) return;
      this.#arrived = Math.max(this.#arrived, count);
      this.#wakeWriter();
    } else if (control?.case === "header") this.#onMetadata(control.value);
    else this.#violated("the server sent a control frame that makes no sense");
  }

  /** The response headers of the handler. */
  #onMetadata(metadata: Metadata): void {
    const set = readMetadata(metadata);
    const count = Object.keys(this.#base).length + metadata.entries.length;
    const refusal = tooManyFields(count, "response headers", "the server");
    if (set === undefined) this.#violated("the server sent response headers that are not valid");
    else if (refusal === undefined) this.#tellHeaders(set);
    else this.#fail(refusal);
  }

  /** Wakes the sender that waits, where the window holds more. */
  #wakeWriter(): void {
    if (this.#window.full) return;
    this.#capacity?.resolve();
    this.#capacity = undefined;
  }

  onInvalid(error: ConnectError, from: CallStream): void {
    if (from !== streamOf(this.#link)) return;
    if (error.code === Code.Unavailable) {
      this.#lost();
      from.reset(error);
    } else this.#fail(error);
  }

  onClosed(outcome: Outcome, from: CallStream): void {
    if (from !== streamOf(this.#link)) return;
    if (outcome.is === "ended") this.#onEnd(outcome.status, outcome.trailers);
    else if (outcome.is === "unsendable") this.#fail(asFailure(outcome.error));
    else if (!outcome.unprocessed || !mayBeginAgain(this.#link)) this.#lost();
    else if (this.#refusals++ < TRANSPARENT_RETRIES) this.#beginElsewhere();
    else this.#fail(outcome.error);
  }

  #onEnd(status: Status, trailers: HeaderList): void {
    let sent: number | undefined;
    try {
      sent = readSent(trailers);
    } catch (error) {
      this.#fail(asFailure(error));
      return;
    }
    if (sent === undefined) this.#onForeignStatus(status, trailers);
    else if (sent === this.#window.received) this.#finish(status, trailers);
    else if (sent > this.#window.received) this.#lost();
    else this.#violated(`the server sent ${sent} messages; ${this.#window.received} came`);
  }

  /** The status is not that of the call: a proxy's, or of a server that takes no attachment now. */
  #onForeignStatus(status: Status, trailers: HeaderList): void {
    const why = readSessionLost(status);
    if (why?.reason === Reason.EXPIRED && !this.#identity.isAnswered) this.#onExpired();
    else if (why !== undefined) {
      const said = Math.min(Number(why.arrived), this.#window.sent);
      this.#fail(sessionLost(why.reason, Math.max(this.#arrived, said)), false);
    } else if (status !== "ok" && status.code === Code.Unavailable) {
      const pushback = String(trailers["grpc-retry-pushback-ms"]);
      this.#lost(/^\d{1,6}$/.test(pushback) ? Number(pushback) : undefined);
    } else if (status === "ok") {
      this.#violated("the server ended the call without saying how many messages it sent");
    } else this.#fail(status, false);
  }

  /**
   * To the server the session looks older than its grace, and it does not know it. Where that is said of attachment 1 no
   * handler has run (session.proto, 4h): most likely this machine slept since Negotiate, and its clock stood still. The
   * server is asked for its settings again, and another session takes the place of this one, with all that was sent.
   */
  #onExpired(): void {
    if (this.#link.number > 1 || this.#newSessions === NEW_SESSIONS_MAX) {
      this.#failExpired();
      return;
    }
    this.#newSessions++;
    const session = this;
    // Its grace may run, where the session had been begun elsewhere; what comes has a grace of its own.
    this.#redial.stop();
    this.#leave()?.release();
    this.#link = unattached;
    this.#init.dialler.renegotiate(this.#identity.openedMs as number, {
      get isWanted() {
        return session.isWanted;
      },
      onSettings: (settings) => this.#onSettings(settings),
      onNoSettings: (error) => (error === undefined ? this.#failExpired() : this.#fail(error)),
    });
  }

  #onSettings(settings: NegotiatedSettings): void {
    if (this.#link.is === "over") return;
    this.#identity.replace(settings);
    this.#window.setPeerWindow(settings.window);
    this.#wakeWriter();
    this.#redial = new Redial(this.#init.clock, settings.graceMs, this);
    this.onDue();
  }

  #failExpired(): void {
    const what =
      "to the server it looked older than its grace when it began: was this machine asleep, or does a clock drift? Make the call again";
    this.#fail(sessionLost(Reason.EXPIRED, 0, what), false);
  }

  /** The server did nothing for attachment 1, as one that drains: no server knows the session. */
  #beginElsewhere(): void {
    this.#leave()?.release();
    this.#link = unattached;
    this.#identity.reopen();
    this.#init.dialler.unbind();
    this.#redial.lost();
  }

  /** The stream is gone: another one, soon. */
  #lost(waitMs?: number): void {
    this.#leave()?.release();
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
    if (this.#link.is !== "detached") return;
    this.#redial.dialled();
    this.#init.dialler.dial(this);
  }

  #ask(cancel: boolean): Record<string, string> {
    return this.#identity.ask({
      attach: this.#link.number + 1,
      received: this.#window.received,
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

  /** What a count of the server breaks, if anything; the call then has failed. */
  #checked(violation: Violation | undefined, count: number): boolean {
    if (violation === "gap") this.#fail(sessionLost(Reason.GAP, this.#arrived));
    if (violation === "above") {
      this.#violated(`the server has received ${count} messages of ${this.#window.sent}`);
    }
    return violation !== undefined;
  }

  #violated(what: string): void {
    this.#fail(sessionLost(Reason.PROTOCOL_ERROR, this.#arrived, what));
  }

  /** @param tell whether the server does not know yet */
  #fail(error: ConnectError, tell = true): void {
    if (this.#link.is === "over") return;
    this.#close(error)?.reset(error);
    if (tell) this.#cancel();
    this.#init.call.onClosed({ is: "lost", error, unprocessed: false }, this);
  }

  /** Tells the server not to wait for another attachment. */
  #cancel(): void {
    if (this.#link.number === 0) return;
    this.#init.dialler.tell(this.#ask(true), this.#identity.graceMs);
  }

  /** Lets go of the stream that carries the session, and gives it to be ended. */
  #leave(): ClientAttachment | undefined {
    const stream = streamOf(this.#link);
    this.#link = detached(this.#link);
    this.#acknowledger.detach();
    return stream;
  }

  /** Ends the session here, and gives its stream to be ended. */
  #close(error: ConnectError): ClientAttachment | undefined {
    const stream = this.#leave();
    this.#link = ended(this.#link);
    this.#init.dialler.remove(this);
    this.#redial.stop();
    this.#failure ??= error;
    if (this.#capacity !== undefined) handled(this.#capacity.promise);
    this.#capacity?.reject(this.#failure);
    this.#window.close();
    return stream;
  }
}
