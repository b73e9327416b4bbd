import { Code, type ConnectError } from "@connectrpc/connect";
import type { Metadata } from "../../gen/hawser/v1/session_pb.js";
import { asFailure, failure, handled, tooManyFields } from "../failure.ts";
import type { Clock } from "../flow/clock.ts";
import { type Acknowledgements, Acknowledger } from "./acknowledgements.ts";
import type { Broken, ClientAttachment, Dialler } from "./attachment.ts";
import { CONTROL, endControl, readControl, readMetadata, type SessionFrame } from "./control.ts";
import { type Answer, dropOwn, readAnswer, readSent, type Values, withoutOwn } from "./headers.ts";
import { SessionIdentity } from "./identity.ts";
import { type Account, Ledger, type Violation, type Window } from "./ledger.ts";
import { Reason, readSessionLost, sessionLost } from "./lost.ts";
import { type AttachedSession, NumberedAttachment } from "./numbered-attachment.ts";
import { Redial, type Redialled } from "./redial.ts";
import {
  answered,
  carries,
  dialled,
  ended,
  type Link,
  lost,
  refused,
  unattached,
} from "./state.ts";
import type { ServerTerms } from "./terms.ts";

/** The call that a session carries, as the client sees it. */
export interface DialledCall<Frame> {
  onOpen(): void;
  onHead(headers: Values): void;
  onFrame(frame: Frame): boolean;
  onStatus(status: "ok" | ConnectError, trailers: Values): void;
  onFailed(error: ConnectError): void;
}

export interface ClientSessionInit<Frame> {
  /** Makes an id of a session: 128 random bits in hexadecimal digits. */
  readonly newId: () => string;
  readonly server: ServerTerms;
  readonly window: Window;
  readonly clock: Clock;
  readonly acknowledgements: Acknowledgements;
  readonly dialler: Dialler<Frame>;
  readonly call: DialledCall<Frame>;
  readonly watcher: SessionWatcher | undefined;
}

/** Who wants to know where a session stands. */
export interface SessionWatcher {
  /** The session goes on over a stream, or looks for one. */
  onCarried(state: "open" | "resuming"): void;
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
export class ClientSession<Frame extends SessionFrame = SessionFrame>
  implements Redialled, AttachedSession<Frame>
{
  readonly #init: ClientSessionInit<Frame>;
  readonly #ledger: Ledger;
  readonly #acknowledger: Acknowledger;
  readonly #identity: SessionIdentity;
  #redial: Redial;
  #newSessions = 0;
  #link: Link = unattached;
  #stream: ClientAttachment | undefined;
  /** Whether messages may leave on the stream: at once on attachment 1, with the answer on a later one. */
  #flowing = false;
  #opened = false;
  /** How often a server did nothing for attachment 1. */
  #refusals = 0;
  #base: Values = {};
  #headed = false;
  #room: PromiseWithResolvers<void> | undefined;
  #failure: ConnectError | undefined;
  #arrived = 0;

  constructor(init: ClientSessionInit<Frame>) {
    this.#init = init;
    this.#identity = new SessionIdentity(init.newId, init.server, init.clock);
    this.#ledger = new Ledger(init.window, NO_ACCOUNT);
    this.#ledger.agree(init.server.window);
    this.#acknowledger = new Acknowledger(this.#ledger, init.acknowledgements);
    this.#redial = new Redial(init.clock, init.server.graceMs, this);
  }

  get state(): Link["is"] {
    return this.#link.is;
  }

  get isOver(): boolean {
    return this.#link.is === "over";
  }

  start(): void {
    this.#init.dialler.begun(this);
    this.onDue();
  }

  // What the call does, as it would with a stream.

  write(flags: number, payload: Uint8Array): Promise<void> | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    this.#ledger.push(flags, payload);
    const taken = this.#flowing
      ? this.#stream?.pull(this.#ledger.kept, payload.length + 1)
      : undefined;
    this.#acknowledger.onSent();
    if (!this.#ledger.full) return taken;
    this.#room ??= Promise.withResolvers();
    return this.#room.promise;
  }

  halfClose(): void {
    this.#ledger.end();
    if (this.#flowing) this.#stream?.write(CONTROL, endControl(this.#ledger.sent));
  }

  /** Streams of a session are read without pause: the window holds the server back. */
  readOn(): void {}

  /** The caller took a message. */
  taken(bytes: number): void {
    this.#acknowledger.taken(bytes);
  }

  /** The call is over; where the server did not end it, it is told. */
  stop(error: ConnectError): void {
    this.#failure ??= error;
    if (this.#link.is === "over") return;
    this.#close(error)?.stop(error);
    this.#cancel();
  }

  /** The transport is closed: the call fails, and the server is told. */
  leave(reason: ConnectError): void {
    this.#fail(reason);
  }

  // What the attachments bring.

  /** The stream of the next attachment is open. */
  onOpen(number: number, stream: ClientAttachment): void {
    if (!carries(this.#link, number)) {
      stream.stop(failure(Code.Canceled, "the call is over"));
      return;
    }
    this.#stream = stream;
    if (number === 1 && this.#refusals === 0) {
      this.#flow(stream);
      // A session that takes the place of one that never began has all of the call to send.
      if (this.#opened) this.#sendAgain(stream, 0);
    }
    if (this.#opened) return;
    this.#opened = true;
    this.#init.call.onOpen();
  }

  onHead(number: number, headers: Values): void {
    if (!carries(this.#link, number)) return;
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
    if (this.#checked(this.#ledger.checkResume(answer.received), answer.received)) return;
    this.#resume(number, answer, headers);
  }

  #resume(number: number, answer: Answer, headers: Values): void {
    this.#link = answered(this.#link, number);
    this.#identity.answered(answer.epoch);
    // Another process than Negotiate asked may have another window.
    this.#ledger.agree(answer.window);
    this.#redial.answered(answer.received > this.#arrived);
    if (!this.#headed) this.#base = headers;
    this.#arrived = Math.max(this.#arrived, answer.received);
    if (answer.metadata) this.#head();
    const stream = this.#stream as ClientAttachment;
    if (!this.#flowing) {
      this.#flow(stream);
      this.#sendAgain(stream, answer.received);
    }
    this.#init.watcher?.onCarried("open");
  }

  /** From now on messages leave, and acknowledgements. */
  #flow(stream: ClientAttachment): void {
    this.#flowing = true;
    this.#acknowledger.attach(stream);
  }

  /** Sends all that follows the first `received` messages. */
  #sendAgain(stream: ClientAttachment, received: number): void {
    this.#ledger.rewind(received);
    stream.pull(this.#ledger.kept, this.#ledger.kept.bytes + 1);
    if (this.#ledger.ended) stream.write(CONTROL, endControl(this.#ledger.sent));
  }

  onFrame(number: number, frame: Frame): boolean {
    if (!carries(this.#link, number)) return true;
    this.#redial.delivered();
    if ((frame.flags & CONTROL) !== 0) {
      this.#onControl(frame);
      return true;
    }
    if (!this.#headed) this.#head();
    if (this.#ledger.receive(frame.end - frame.start)) this.#init.call.onFrame(frame);
    else this.#violated("the server sends more than the window holds");
    return true;
  }

  #onControl(frame: Frame): void {
    const control = readControl(frame);
    if (control?.case === "received") {
      const count = Number(control.value);
      if (this.#checked(this.#ledger.acknowledge(count), count)) return;
      this.#arrived = Math.max(this.#arrived, count);
      this.#makeRoom();
    } else if (control?.case === "header") this.#onMetadata(control.value);
    else this.#violated("the server sent a control frame that makes no sense");
  }

  /** The response headers of the handler. */
  #onMetadata(metadata: Metadata): void {
    const set = readMetadata(metadata);
    const count = Object.keys(this.#base).length + metadata.entries.length;
    const refusal = tooManyFields(count, "response headers", "the server");
    if (set === undefined) this.#violated("the server sent response headers that are not valid");
    else if (refusal === undefined) this.#head(set);
    else this.#fail(refusal);
  }

  /** Wakes the sender that waits, where the window holds more. */
  #makeRoom(): void {
    if (this.#ledger.full) return;
    this.#room?.resolve();
    this.#room = undefined;
  }

  onStatus(number: number, status: "ok" | ConnectError, trailers: Values): void {
    if (!carries(this.#link, number)) return;
    let sent: number | undefined;
    try {
      sent = readSent(trailers);
    } catch (error) {
      this.#fail(asFailure(error));
      return;
    }
    if (sent === undefined) this.#onForeignStatus(number, status, trailers);
    else if (sent === this.#ledger.received) this.#finish(status, trailers);
    else if (sent > this.#ledger.received) this.#onLost(number);
    else this.#violated(`the server sent ${sent} messages; ${this.#ledger.received} came`);
  }

  /** The status is not that of the call: a proxy's, or of a server that takes no attachment now. */
  #onForeignStatus(number: number, status: "ok" | ConnectError, trailers: Values): void {
    const why = readSessionLost(status);
    if (why?.reason === Reason.EXPIRED && !this.#identity.isAnswered) this.#onExpired(number);
    else if (why !== undefined) {
      const said = Math.min(Number(why.arrived), this.#ledger.sent);
      this.#fail(sessionLost(why.reason, Math.max(this.#arrived, said)), false);
    } else if (status !== "ok" && status.code === Code.Unavailable) {
      const pushback = String(trailers["grpc-retry-pushback-ms"]);
      this.#onLost(number, /^\d{1,6}$/.test(pushback) ? Number(pushback) : undefined);
    } else if (status === "ok") {
      this.#violated("the server ended the call without saying how many messages it sent");
    } else this.#fail(status, false);
  }

  /**
   * To the server the session looks older than its grace, and it does not know it. Where that is said of attachment 1 no
   * handler has run (session.proto, 4h): most likely this machine slept since Negotiate, and its clock stood still. The
   * server is asked for its terms again, and another session takes the place of this one, with all that was sent.
   */
  #onExpired(number: number): void {
    if (number > 1 || this.#newSessions === NEW_SESSIONS_MAX) {
      this.#failExpired();
      return;
    }
    this.#newSessions++;
    const session = this;
    this.#link = unattached;
    // Its grace may run, where the session had been begun elsewhere; what comes has a grace of its own.
    this.#redial.stop();
    this.#leave()?.release();
    this.#init.dialler.renegotiate(this.#identity.openedMs as number, {
      get wanted() {
        return !session.isOver;
      },
      onTerms: (terms) => this.#onTerms(terms),
      onNoTerms: (error) => (error === undefined ? this.#failExpired() : this.#fail(error)),
    });
  }

  #onTerms(terms: ServerTerms): void {
    if (this.#link.is === "over") return;
    this.#identity.replace(terms);
    this.#ledger.agree(terms.window);
    this.#makeRoom();
    this.#redial = new Redial(this.#init.clock, terms.graceMs, this);
    this.onDue();
  }

  #failExpired(): void {
    const what =
      "to the server it looked older than its grace when it began: was this machine asleep, or does a clock drift? Make the call again";
    this.#fail(sessionLost(Reason.EXPIRED, 0, what), false);
  }

  onBroken(number: number, broken: Broken): void {
    // No stream was opened where the number is not reached yet.
    if (number !== this.#link.number && this.#link.is !== "detached") return;
    if (this.#link.is === "over") return;
    const begun = broken.unprocessed !== true || refused(this.#link) !== unattached;
    if (isFinal(broken) || this.#link.number === 0) this.#fail(broken.error);
    else if (begun) this.#onLost(this.#link.number);
    else if (this.#refusals++ < TRANSPARENT_RETRIES) this.#beginElsewhere();
    else this.#fail(broken.error);
  }

  /** The server did nothing for attachment 1, as one that drains: no server knows the session. */
  #beginElsewhere(): void {
    this.#leave()?.release();
    this.#link = refused(this.#link);
    this.#identity.reopen();
    this.#init.dialler.unbind();
    this.#redial.lost();
  }

  /** The stream is gone: another one, soon. */
  #onLost(number: number, waitMs?: number): void {
    if (this.#link.is === "over") return;
    this.#link = lost(this.#link, number);
    this.#leave()?.release();
    this.#redial.lost(waitMs);
  }

  // What the redial tells.

  onResuming(): void {
    this.#init.watcher?.onCarried("resuming");
  }

  onGivenUp(): void {
    this.#fail(sessionLost(Reason.UNREACHABLE, this.#arrived), false);
  }

  /** It is time to open the next attachment. */
  onDue(): void {
    if (this.#link.is !== "detached") return;
    this.#redial.dialled();
    const next = this.#link.number + 1;
    this.#init.dialler.dial(() => {
      this.#link = dialled(this.#link);
      return this.#ask(false);
    }, new NumberedAttachment(this, next));
  }

  #ask(cancel: boolean): Record<string, string> {
    return this.#identity.headers({
      attach: this.#link.number + (cancel ? 1 : 0),
      received: this.#ledger.received,
      window: this.#init.window,
      cancel,
    });
  }

  /** Tells the call its response headers, once. */
  #head(set?: Values): void {
    if (this.#headed) return;
    this.#headed = true;
    const base = withoutOwn(this.#base);
    this.#base = {};
    this.#init.call.onHead(set === undefined ? base : Object.assign(base, set));
  }

  #finish(status: "ok" | ConnectError, trailers: Values): void {
    if (status === "ok") this.#head();
    else dropOwn(status.metadata);
    const stopped = failure(Code.FailedPrecondition, "the server has ended the call");
    const error = status === "ok" ? stopped : status;
    const stream = this.#close(error);
    stream?.halfClose();
    // Who waits for room on the stream waits in vain from now on.
    stream?.stop(error);
    this.#init.call.onStatus(status, withoutOwn(trailers));
  }

  /** What a count of the server breaks, if anything; the call then has failed. */
  #checked(violation: Violation | undefined, count: number): boolean {
    if (violation === "gap") this.#fail(sessionLost(Reason.GAP, this.#arrived));
    if (violation === "above") {
      this.#violated(`the server has received ${count} messages of ${this.#ledger.sent}`);
    }
    return violation !== undefined;
  }

  #violated(what: string): void {
    this.#fail(sessionLost(Reason.PROTOCOL_ERROR, this.#arrived, what));
  }

  /** @param tell whether the server does not know yet */
  #fail(error: ConnectError, tell = true): void {
    if (this.#link.is === "over") return;
    this.#close(error)?.stop(error);
    if (tell) this.#cancel();
    this.#init.call.onFailed(error);
  }

  /** Tells the server not to wait for another attachment. */
  #cancel(): void {
    if (this.#link.number > 0)
      this.#init.dialler.tell(() => this.#ask(true), this.#identity.graceMs);
  }

  /** Lets go of the stream that carries the session, and gives it to be ended. */
  #leave(): ClientAttachment | undefined {
    const stream = this.#stream;
    this.#stream = undefined;
    this.#flowing = false;
    this.#acknowledger.detach();
    return stream;
  }

  /** Ends the session here, and gives its stream to be ended. */
  #close(error: ConnectError): ClientAttachment | undefined {
    this.#link = ended(this.#link);
    this.#init.dialler.over(this);
    this.#redial.stop();
    const stream = this.#leave();
    this.#failure ??= error;
    if (this.#room !== undefined) handled(this.#room.promise);
    this.#room?.reject(this.#failure);
    this.#ledger.close();
    return stream;
  }
}

/** Whether another stream would end the same way: what came was no gRPC, or over a limit, or the transport is closed. */
function isFinal({ error, refused }: Broken): boolean {
  return refused && error.code !== Code.Unavailable;
}
