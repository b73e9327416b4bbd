/** Observers that note all that they are told. */
import type {
  ClientCallEnd,
  ClientCallObserver,
  ClientObserver,
  ObservedClientCall,
} from "../../src/index.ts";
import type {
  ObservedServerCall,
  ServerCallEnd,
  ServerCallObserver,
  ServerObserver,
} from "../../src/server.ts";

type EventOf<Observer, Name extends keyof Observer> =
  NonNullable<Observer[Name]> extends (event: infer Event) => unknown ? Event : never;

/** What an observer was told. */
export class Recorder<Observer, Call, End> {
  readonly observer: Observer;
  /** The names of the events, in order; "ended" too. */
  readonly names: string[] = [];
  /** The ends of calls, in order. */
  readonly ends: { readonly call: Call; readonly end: End }[] = [];
  readonly #events: { readonly name: string; readonly event: unknown }[] = [];

  /** @param wants what callStarted() returns */
  constructor(names: readonly string[], wants: (call: Call) => object) {
    const note = (name: string) => (event: unknown) => {
      this.names.push(name);
      this.#events.push({ name, event });
      if (name !== "callStarted") return undefined;
      const call = event as Call;
      const ended = (end: End) => {
        this.names.push("ended");
        this.ends.push({ call, end });
      };
      return { ...wants(call), ended };
    };
    this.observer = Object.fromEntries(names.map((name) => [name, note(name)])) as Observer;
  }

  /** The events of one name, in order. */
  readonly of = <Name extends keyof Observer>(name: Name): EventOf<Observer, Name>[] => {
    const events = this.#events.filter((one) => one.name === name);
    return events.map(({ event }) => event as EventOf<Observer, Name>);
  };

  /** The end of the only call that has ended. */
  get end(): End {
    const [only, ...more] = this.ends;
    if (only === undefined || more.length > 0) {
      throw new Error(`${this.ends.length} calls have ended, and not one`);
    }
    return only.end;
  }
}

const ofBoth = {
  callStarted: true,
  deadlineExceeded: true,
  connectionOpened: true,
  connectionClosed: true,
  goawayReceived: true,
  sessionOpened: true,
  sessionDetached: true,
  sessionResumed: true,
  sessionLost: true,
} as const;

/** TypeScript reports an event that is missing. */
const ofServer = {
  ...ofBoth,
  handlerFailed: true,
  fallbackFailed: true,
  connectionRefused: true,
  goawaySent: true,
  limitRefused: true,
  drainBegan: true,
  drainEnded: true,
} satisfies Record<keyof Required<ServerObserver>, true>;

const ofClient = {
  ...ofBoth,
  retrying: true,
  connectionFailed: true,
  stalled: true,
} satisfies Record<keyof Required<ClientObserver>, true>;

export type ServerRecorder = Recorder<ServerObserver, ObservedServerCall, ServerCallEnd>;
export type ClientRecorder = Recorder<ClientObserver, ObservedClientCall, ClientCallEnd>;

export function serverRecorder(
  wants: (call: ObservedServerCall) => ServerCallObserver = () => ({}),
): ServerRecorder {
  return new Recorder(Object.keys(ofServer), wants);
}

export function clientRecorder(
  wants: (call: ObservedClientCall) => ClientCallObserver = () => ({}),
): ClientRecorder {
  return new Recorder(Object.keys(ofClient), wants);
}

/** Observers of both ends, as options of a world. */
export function recorders(): {
  server: ServerRecorder;
  client: ClientRecorder;
  setup: { server: { observe: ServerObserver }; transport: { observe: ClientObserver } };
} {
  const server = serverRecorder();
  const client = clientRecorder();
  const setup = { server: { observe: server.observer }, transport: { observe: client.observer } };
  return { server, client, setup };
}
