import type {
  ClientObserver,
  CloseReason,
  ObservedClientConnection,
  ObservedServerConnection,
  ServerObserver,
} from "./events.ts";
import type { Notifier } from "./notifier.ts";

/** A connection of a server, as its observer sees it. */
export class ServerConnectionObservation {
  readonly #notifier: Notifier<ServerObserver>;
  readonly #connection: ObservedServerConnection;
  #goawayCode: number | undefined;

  constructor(notifier: Notifier<ServerObserver>, connection: ObservedServerConnection) {
    this.#notifier = notifier;
    this.#connection = connection;
    notifier.tell("connectionOpened", { connection });
  }

  onGoawaySent(): void {
    this.#notifier.tell("goawaySent", { connection: this.#connection });
  }

  /** A peer that closes in two steps sends it twice (RFC 9113, 6.8). */
  onGoawayReceived(code: number, debugData: string): void {
    if (code === this.#goawayCode) return;
    this.#goawayCode = code;
    this.#notifier.tell("goawayReceived", { connection: this.#connection, code, debugData });
  }

  onClosed(why: CloseReason, detail: string): void {
    this.#notifier.tell("connectionClosed", { connection: this.#connection, why, detail });
  }
}

/** A connection of a transport, as its observer sees it. */
export class ClientConnectionObservation {
  readonly #notifier: Notifier<ClientObserver>;
  readonly #connection: ObservedClientConnection;
  #goawayCode: number | undefined;

  constructor(notifier: Notifier<ClientObserver>, address: string) {
    this.#notifier = notifier;
    this.#connection = { address };
  }

  onOpened(): void {
    this.#notifier.tell("connectionOpened", { connection: this.#connection });
  }

  /** A peer that closes in two steps sends it twice (RFC 9113, 6.8). */
  onGoawayReceived(code: number, debugData: string): void {
    if (code === this.#goawayCode) return;
    this.#goawayCode = code;
    this.#notifier.tell("goawayReceived", { connection: this.#connection, code, debugData });
  }

  onClosed(why: CloseReason, detail: string): void {
    this.#notifier.tell("connectionClosed", { connection: this.#connection, why, detail });
  }
}
