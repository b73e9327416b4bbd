import type { DescMethod } from "@bufbuild/protobuf";
import type { ConnectError } from "@connectrpc/connect";
import type { Caller } from "../caller.ts";
import type { ServerObserver } from "../observe/events.ts";
import { type Logger, log } from "../observe/logger.ts";
import type { Notifier } from "../observe/notifier.ts";
import { OnceAMinute } from "../observe/once-a-minute.ts";

/** The logger of a server: an error is always reported. */
export type ServerLogger = Pick<Logger, "error"> & Partial<Logger>;

/** Reports what happens to a server as a whole, to its logger and to its observer. */
export class ServerReporter {
  readonly #logger: ServerLogger;
  readonly #notifier: Notifier<ServerObserver> | undefined;
  /** Messages that peers can cause, by kind. */
  readonly #limited = new Map<string, OnceAMinute>();
  readonly #refusals = new Map<string, number>();
  /** When close() was called. */
  #closedAt = 0;

  constructor(logger: ServerLogger, notifier: Notifier<ServerObserver> | undefined) {
    this.#logger = logger;
    this.#notifier = notifier;
  }

  onStarted(url: string): void {
    log(this.#logger, "info", `listening on ${url}`);
  }

  onDraining(openCalls: number): void {
    this.#closedAt = performance.now();
    log(this.#logger, "info", `closing; open calls: ${openCalls}`);
    this.#notifier?.tell("drainBegan", { openCalls });
  }

  /** @param endedCalls how many calls the server has ended */
  onClosed(endedCalls: number): void {
    const durationMs = performance.now() - this.#closedAt;
    log(this.#logger, "info", `closed; calls that were ended: ${endedCalls}`);
    this.#notifier?.tell("drainEnded", { durationMs, endedCalls });
  }

  /** @param error what a handler threw, and is no ConnectError */
  onHandlerError(error: unknown, method: DescMethod): void {
    log(this.#logger, "error", `the handler of ${pathOf(method)} failed:`, error);
    this.#notifier?.tell("handlerFailed", { method, error });
  }

  /** @param error what a fallback threw */
  onFallbackError(error: unknown, request: { readonly method: string; readonly path: string }) {
    const { method, path } = request;
    log(this.#logger, "error", `the fallback failed for ${method} ${path}:`, error);
    this.#notifier?.tell("fallbackFailed", { method, path, error });
  }

  /** @param reason the name of a SessionLostReason */
  onSessionLost(reason: string, error: ConnectError, method: DescMethod): void {
    this.#warn(`session lost: ${reason}`, `a call of ${pathOf(method)}: ${error.rawMessage}`);
  }

  /** @param limit the name of its option */
  onRefused(limit: string, caller: Caller | undefined): void {
    this.countRefusal(limit);
    const who = caller === undefined ? "a caller" : nameOf(caller);
    this.#warn(`refused: ${limit}`, `${who} was refused by the limit ${limit}`);
    this.#notifier?.tell("limitRefused", { limit, caller });
  }

  countRefusal(limit: string): void {
    this.#refusals.set(limit, this.refusalsOf(limit) + 1);
  }

  /** How often a limit has refused something. */
  refusalsOf(limit: string): number {
    return this.#refusals.get(limit) ?? 0;
  }

  #warn(kind: string, message: string): void {
    let limited = this.#limited.get(kind);
    if (limited === undefined) {
      limited = new OnceAMinute();
      this.#limited.set(kind, limited);
    }
    limited.run((count) => {
      const others = count === 1 ? "" : `; and ${count - 1} more since the last such message`;
      log(this.#logger, "warn", message + others);
    });
  }
}

/** A caller, as a log shows it. */
function nameOf({ identity, peer }: Caller): string {
  if (identity !== undefined) return `the caller ${JSON.stringify(identity)}`;
  if (peer.address !== undefined) return `the client ${peer.address}`;
  if (peer.proxy?.address === undefined) return "a client of the Unix socket";
  return `a client, which its proxy ${peer.proxy.address} does not name,`;
}

function pathOf({ parent, name }: DescMethod): string {
  return `/${parent.typeName}/${name}`;
}
