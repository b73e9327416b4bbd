import { randomFillSync } from "node:crypto";
import type { OutgoingHttpHeaders } from "node:http2";
import type { CallWatcher } from "../call-options.ts";
import { asFailure, handled } from "../failure.ts";
import { Acknowledgements, realClock } from "../session/clock.ts";
import { ClientSession, type ServerTerms } from "../session/dial.ts";
import type { Window } from "../session/ledger.ts";
import type { Addresses } from "./addresses.ts";
import { Attempts, type Carried } from "./attempts.ts";
import type { Connection } from "./connection.ts";
import type { Connections } from "./connections.ts";
import { StreamDialler } from "./dialler.ts";
import type { Frame } from "./framing.ts";
import { negotiate } from "./negotiate.ts";

/** How often another connection is asked for its sessions when one was lost over the question. */
const NEGOTIATIONS = 3;

const acknowledgements = new Acknowledgements(realClock);

/** How a call is to be carried. */
export interface Carriage {
  readonly addresses: Addresses;
  /** Makes the request headers of an attempt. */
  readonly headers: () => OutgoingHttpHeaders;
  /** The request headers of a method that belongs to no call. */
  readonly ownHeaders: (path: string) => Record<string, string>;
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
    if (carriage.comesBack && ready?.sessions === undefined) handled(ask(carriage, call));
  } else if (ready?.sessions !== undefined) by(ready, ready.sessions);
  else {
    ask(carriage, call).then(
      (asked) => {
        if (!call.over) by(asked, asked.sessions ?? false);
      },
      (error) => {
        if (!call.over) call.onFailed(asFailure(error));
      },
    );
  }
}

function carryPlainly({ addresses, headers, readMaxBytes }: Carriage, call: Carried): void {
  new Attempts(addresses, headers, readMaxBytes, call).start();
}

function carryBySession(
  { headers, readMaxBytes, watcher }: Carriage,
  connections: Connections,
  call: Carried,
  server: ServerTerms,
  window: Window,
): void {
  connections.eager = true;
  watcher?.onSession();
  const session = new ClientSession<Frame>({
    id: newId(),
    server,
    window,
    clock: realClock,
    acknowledgements,
    dialler: new StreamDialler(connections, headers, readMaxBytes),
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

/** A connection whose server has said what there is to say of its sessions. */
async function ask({ addresses, ownHeaders }: Carriage, call: Carried): Promise<Connection> {
  for (let attempt = 1; ; attempt++) {
    let connection: Connection | undefined;
    await addresses.acquire(
      (ready) => {
        connection = ready;
      },
      () => !call.over,
    );
    const asked = connection as unknown as Connection;
    try {
      if (asked.sessions === undefined) await negotiate(asked, ownHeaders);
      return asked;
    } catch (error) {
      if (attempt === NEGOTIATIONS) throw error;
    }
  }
}
