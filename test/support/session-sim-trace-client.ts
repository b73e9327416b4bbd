import { Code, type ConnectError } from "@connectrpc/connect";
import type {
  ClientCallListener,
  ClientCallStream,
  ClientStreamListener,
  HeaderList,
  Outcome,
  Received,
} from "../../src/call-stream.ts";
import { failure } from "../../src/failure.ts";
import { Acknowledgements } from "../../src/session/acknowledgements.ts";
import type {
  Dialler,
  SettingsWatcher,
  WaitingForConnection,
} from "../../src/session/attachment.ts";
import { ClientSession } from "../../src/session/client-session.ts";
import { FakeTime } from "./session-sim-clock.ts";
import { SimClientStream } from "./session-sim-streams.ts";
import {
  drain,
  fromHex,
  fromTrailers,
  type Side,
  type State,
  type Step,
  shownHeaders,
  type Trace,
  toFailure,
  type Wire,
} from "./session-sim-trace.ts";
import { TraceApp } from "./session-sim-trace-app.ts";
import type { Fields } from "./session-sim-wire.ts";

/** The client's side of a trace: a session, with a test in place of the application and of the network. */
export class ClientSide implements Side, Dialler, ClientCallListener {
  readonly wire: Wire[] = [];
  readonly #app = new TraceApp();
  readonly app = this.#app.heard;
  readonly #time = new FakeTime();
  readonly #session: ClientSession;
  readonly #streams: SimClientStream[] = [];
  #asks: SettingsWatcher | undefined;
  #negotiates = false;
  #reachable = true;
  #acknowledged = 0;

  constructor({ id, nextId, window, server }: NonNullable<Trace["client"]>) {
    const clock = this.#time.clock();
    const ids = [id, nextId];
    this.#session = new ClientSession({
      newId: () => ids.shift() ?? "",
      server,
      window,
      clock,
      acknowledgements: new Acknowledgements(clock),
      dialler: this,
      call: this,
      watcher: undefined,
    });
  }

  get state(): State {
    return {
      link: this.#session.state,
      sent: this.#app.sent,
      received: this.#app.received,
      acknowledged: this.#acknowledged,
      full: this.#app.isFull,
    };
  }

  async happen(event: Step["in"]): Promise<void> {
    if ("app" in event) this.#act(event);
    else if ("time" in event) this.#time.pass(event.time);
    else if ("negotiated" in event) this.#asks?.onSettings(event.negotiated);
    else if ("reachable" in event) this.#reachable = event.reachable;
    else this.#receive(event);
    for (let n = 0; n < 4; n++) await null;
    for (const [at, { up }] of this.#streams.entries()) this.wire.push(...drain(up, at + 1));
  }

  #act(event: Extract<Step["in"], { app: string }>): void {
    const session = this.#session;
    switch (event.app) {
      case "start":
        session.start();
        break;
      case "send":
        this.#app.send(session, event);
        break;
      case "take":
        this.#app.take(session);
        break;
      case "half-close":
        session.endSend();
        break;
      case "cancel":
        session.reset(failure(Code.Canceled, "the caller cancelled"));
        break;
      default:
        throw new Error(`a client does not ${event.app}`);
    }
  }

  #receive(event: Extract<Step["in"], { stream: number }>): void {
    const stream = this.#streams[event.stream - 1] as SimClientStream;
    if ("gone" in event) stream.lost();
    else {
      if (event.headers !== undefined) {
        const fields = { "content-type": "application/grpc", ...event.headers };
        stream.receive({ is: "headers", fields });
      }
      if (event.frames !== undefined) {
        stream.receive({ is: "data", bytes: fromHex(event.frames.join("")) });
      }
      if (event.trailers !== undefined) {
        stream.receive({ is: "end", fields: fromTrailers(event.trailers, event.lost) });
      }
      if (event.reset) stream.receive({ is: "reset" });
    }
  }

  // What the session asks for.

  dial(session: WaitingForConnection): void {
    if (!this.#reachable) {
      session.onUnreachable(failure(Code.Unavailable, "there is no connection"));
      return;
    }
    session.onConnection((headers, listener) => this.#open(headers, listener));
  }

  #open(headers: Fields, listener: ClientStreamListener | undefined): SimClientStream {
    const stream = new SimClientStream(headers, listener, {
      onTold() {},
      onAcknowledged: (count) => {
        this.#acknowledged = Math.max(this.#acknowledged, count);
      },
    });
    this.#streams.push(stream);
    return stream;
  }

  freshHeaders(): undefined {}

  unbind(): void {}

  renegotiate(_sinceMs: number, watcher: SettingsWatcher): void {
    this.#asks = watcher;
    this.#negotiates = true;
  }

  takeNegotiates(): boolean {
    const negotiates = this.#negotiates;
    this.#negotiates = false;
    return negotiates;
  }

  sendCancel(headers: Fields): void {
    if (this.#reachable) this.#open(headers, undefined).endSend();
  }

  add(): void {}

  remove(): void {}

  // Events of the application.

  onOpen(): void {
    this.app.push({ started: true });
  }

  readonly isOver = false;

  onStream(_stream: ClientCallStream): void {}

  onHeaders(headers: HeaderList): void {
    this.app.push({ headers: shownHeaders(headers) });
  }

  onMessage(message: Received): void {
    this.#app.onMessage(message);
  }

  onInvalid(error: ConnectError): void {
    this.app.push({ failed: toFailure(error) });
  }

  onFailed(error: ConnectError): void {
    this.app.push({ failed: toFailure(error) });
  }

  onClosed(outcome: Outcome): void {
    if (outcome.is !== "ended") this.onFailed(outcome.error as ConnectError);
    else {
      const { status } = outcome;
      this.app.push({ status: status === "ok" ? "OK" : toFailure(status) });
    }
  }
}
