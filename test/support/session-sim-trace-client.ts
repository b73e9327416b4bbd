import { Code, type ConnectError } from "@connectrpc/connect";
import { failure } from "../../src/failure.ts";
import { COMPRESSED, type Frame } from "../../src/grpc/framing.ts";
import { Acknowledgements } from "../../src/session/acknowledgements.ts";
import type { AttachmentWatcher, Dialler, TermsWatcher } from "../../src/session/attachment.ts";
import { ClientSession, type DialledCall } from "../../src/session/dial.ts";
import { FakeTime } from "./session-sim-clock.ts";
import { SimClientStream } from "./session-sim-streams.ts";
import {
  drain,
  fromHex,
  fromTrailers,
  type Heard,
  type Side,
  type State,
  type Step,
  shownHeaders,
  type Trace,
  toFailure,
  toHex,
  type Wire,
} from "./session-sim-trace.ts";
import type { Fields } from "./session-sim-wire.ts";

type Values = Record<string, string | string[] | undefined>;

/** The client's side of a trace: a session, with a test in place of the application and of the network. */
export class ClientSide implements Side, Dialler<Frame>, DialledCall<Frame> {
  readonly wire: Wire[] = [];
  readonly app: Heard[] = [];
  readonly #time = new FakeTime();
  readonly #session: ClientSession<Frame>;
  readonly #streams: SimClientStream[] = [];
  readonly #got: Frame[] = [];
  #asks: TermsWatcher | undefined;
  #negotiates = false;
  #reachable = true;
  #full = false;
  #sent = 0;
  #received = 0;
  #acknowledged = 0;

  constructor({ id, nextId, window, server }: NonNullable<Trace["client"]>) {
    const clock = this.#time.clock();
    const ids = [id, nextId];
    this.#session = new ClientSession<Frame>({
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
      sent: this.#sent,
      received: this.#received,
      acknowledged: this.#acknowledged,
      full: this.#full,
    };
  }

  async happen(event: Step["in"]): Promise<void> {
    if ("app" in event) this.#act(event);
    else if ("time" in event) this.#time.pass(event.time);
    else if ("negotiated" in event) this.#asks?.onTerms(event.negotiated);
    else if ("reachable" in event) this.#reachable = event.reachable;
    else this.#receive(event);
    for (let n = 0; n < 4; n++) await null;
    for (const [at, { outbox, up }] of this.#streams.entries()) {
      outbox.flush();
      this.wire.push(...drain(up, at + 1));
    }
  }

  #act(event: Extract<Step["in"], { app: string }>): void {
    const session = this.#session;
    switch (event.app) {
      case "start":
        session.start();
        break;
      case "send": {
        this.#sent++;
        const flags = event.compressed ? COMPRESSED : 0;
        const room = session.write(flags, fromHex(event.message));
        if (room === undefined) break;
        this.#full = true;
        const roomAgain = () => {
          this.#full = false;
          this.app.push({ room: true });
        };
        room.then(roomAgain, () => {
          this.#full = false;
        });
        break;
      }
      case "take": {
        const frame = this.#got.shift() as Frame;
        session.taken(frame.end - frame.start);
        break;
      }
      case "half-close":
        session.halfClose();
        break;
      case "cancel":
        session.stop(failure(Code.Canceled, "the caller cancelled"));
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

  dial(headers: () => Fields, watcher: AttachmentWatcher<Frame> | undefined): void {
    if (!this.#reachable) {
      const error = failure(Code.Unavailable, "there is no connection");
      watcher?.onBroken({ error, refused: false });
      return;
    }
    const stream = new SimClientStream(headers(), watcher, {
      onTold() {},
      onAcknowledged: (count) => {
        this.#acknowledged = Math.max(this.#acknowledged, count);
      },
    });
    this.#streams.push(stream);
    watcher?.onOpen(stream);
    if (watcher === undefined) stream.halfClose();
  }

  unbind(): void {}

  renegotiate(_sinceMs: number, watcher: TermsWatcher): void {
    this.#asks = watcher;
    this.#negotiates = true;
  }

  takeNegotiates(): boolean {
    const negotiates = this.#negotiates;
    this.#negotiates = false;
    return negotiates;
  }

  tell(headers: () => Fields): void {
    this.dial(headers, undefined);
  }

  begun(): void {}

  over(): void {}

  // What the application hears.

  onOpen(): void {
    this.app.push({ started: true });
  }

  onHead(headers: Values): void {
    this.app.push({ headers: shownHeaders(headers) });
  }

  onFrame(frame: Frame): boolean {
    this.#received++;
    this.#got.push({ ...frame, bytes: frame.bytes.slice() });
    const message = toHex(frame.bytes.subarray(frame.start, frame.end));
    this.app.push({ message, ...(frame.flags === COMPRESSED ? { compressed: true } : {}) });
    return true;
  }

  onStatus(status: "ok" | ConnectError): void {
    this.app.push({ status: status === "ok" ? "OK" : toFailure(status) });
  }

  onFailed(error: ConnectError): void {
    this.app.push({ failed: toFailure(error) });
  }
}
