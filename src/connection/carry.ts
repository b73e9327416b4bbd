import { randomFillSync } from "node:crypto";
import type { ConnectError } from "@connectrpc/connect";
import type { CallWatcher } from "../client/call-options.ts";
import { asFailure } from "../failure.ts";
import { realClock } from "../flow/clock.ts";
import type { Frame } from "../grpc/framing.ts";
import type { RequestHeaders } from "../grpc/request-headers.ts";
import type { Connection } from "../node/http2/connection.ts";
import { Acknowledgements } from "../session/acknowledgements.ts";
import { ClientSession } from "../session/dial.ts";
import type { Window } from "../session/ledger.ts";
import type { ServerTerms } from "../session/terms.ts";
import type { Addresses } from "./addresses.ts";
import { Attempts, type Carried } from "./attempts.ts";
import { type Connections, NO_LONGER } from "./connections.ts";
import { StreamDialler } from "./dialler.ts";
import { type MethodHeaders, negotiated } from "./negotiate.ts";

const acknowledgements = new Acknowledgements(realClock);

/** How a call is to be carried. */
export interface Carriage {
  readonly addresses: Addresses;
  readonly headers: RequestHeaders;
  /** The request headers of a method that belongs to no call. */
  readonly ownHeaders: MethodHeaders;
  readonly readMaxBytes: number;
  /** What a session of the call may hold; `undefined`: it has none. */
  readonly window: Window | undefined;
  /** Whether the call is made again where it is lost. */
  readonly comesBack: boolean;
  readonly watcher: CallWatcher | undefined;
}

/** Carries a call: by a session where both sides have them, else by attempts. */
export function carry(carriage: Carriage, call: Carried): void {
  const { addresses, window } = carriage;
  const ready = addresses.ready();
  const by = (connection: Connection, terms: ServerTerms | false) => {
    if (terms === false || window === undefined) carryPlainly(carriage, call);
    else carryBySession(carriage, addresses.homeOf(connection), call, terms, window);
  };
  if (window === undefined) {
    carryPlainly(carriage, call);
    // A server of Hawser's is asked for signs of life more often: a loss is known sooner.
    if (carriage.comesBack && ready?.mustNegotiate !== false) {
      ask(carriage, { call, go() {}, failed() {} });
    }
  } else if (ready?.sessions !== undefined && !ready.mustNegotiate) by(ready, ready.sessions);
  else {
    ask(carriage, {
      call,
      go: (asked) => by(asked, asked.sessions ?? false),
      failed: (error) => call.onFailed(error),
    });
  }
}

function carryPlainly({ addresses, headers, readMaxBytes }: Carriage, call: Carried): void {
  new Attempts(addresses, headers, readMaxBytes, call).start();
}

function carryBySession(
  { addresses, headers, ownHeaders, readMaxBytes, watcher }: Carriage,
  connections: Connections,
  call: Carried,
  server: ServerTerms,
  window: Window,
): void {
  connections.hurry();
  watcher?.onSession();
  const session = new ClientSession<Frame>({
    newId,
    server,
    window,
    clock: realClock,
    acknowledgements,
    dialler: new StreamDialler({ addresses, connections, headers, ownHeaders, readMaxBytes }),
    call,
    watcher,
  });
  call.onCarrier(session);
  session.start();
}

const ID_BYTES = 16;
const random = Buffer.alloc(64 * ID_BYTES);
let used = random.length;

/** 128 random bits in hexadecimal digits. */
function newId(): string {
  if (used === random.length) {
    randomFillSync(random);
    used = 0;
  }
  used += ID_BYTES;
  return random.toString("hex", used - ID_BYTES, used);
}

/** A call that waits for what its server has to say of its sessions. */
interface Asker {
  readonly call: Carried;
  readonly go: (asked: Connection) => void;
  readonly failed: (error: ConnectError) => void;
}

/** A question that is under way, and the calls that wait for its answer. */
class Question {
  #askers: Asker[] = [];
  #sweepAt = 64;

  add(asker: Asker): void {
    // Who was cancelled meanwhile waits no more.
    if (this.#askers.length === this.#sweepAt) {
      this.#askers = this.#askers.filter(({ call }) => !call.over);
      this.#sweepAt = 2 * Math.max(this.#askers.length, 32);
    }
    this.#askers.push(asker);
  }

  tell(how: (asker: Asker) => void): void {
    for (const asker of this.#askers) if (!asker.call.over) how(asker);
  }

  /** Whether a call waits for the answer. */
  get wanted(): boolean {
    return this.#askers.some(({ call }) => !call.over);
  }
}

const questions = new WeakMap<Addresses, Question>();

/** Asks, unless that is under way; `asker` hears of the answer. */
function ask(carriage: Carriage, asker: Asker): void {
  const { addresses } = carriage;
  const underWay = questions.get(addresses);
  if (underWay !== undefined) {
    underWay.add(asker);
    return;
  }
  const question = new Question();
  question.add(asker);
  questions.set(addresses, question);
  const over = () => questions.delete(addresses);
  negotiated(addresses, carriage.ownHeaders, () => question.wanted).then(
    (connection) => {
      over();
      question.tell(({ go }) => go(connection));
    },
    (error) => {
      over();
      // A call may have come when the wait for the others had just been given up.
      if (error === NO_LONGER) question.tell((asker) => ask(carriage, asker));
      else question.tell(({ failed }) => failed(asFailure(error)));
    },
  );
}
