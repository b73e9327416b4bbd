/** How a server begins to listen, and how it ends. */
import { Code } from "@connectrpc/connect";
import { failure } from "../failure.ts";
import {
  type Checks,
  checkOptions,
  notNegative,
  notNegativeOrInfinite,
  someText,
  trueOrFalse,
  whole,
} from "../options.ts";

/** The address on which a server listens. */
export type ListenOptions =
  | {
      /** Default: 127.0.0.1. */
      host?: string;
      /** Default: 50051; 0 picks a free one. */
      port?: number;
      path?: undefined;
    }
  | {
      /**
       * The path of a Unix socket. The permissions of its folder and the process's umask decide which users may
       * connect.
       */
      path: string;
      host?: undefined;
      port?: undefined;
    };

/** The address at which a server can be reached. */
export interface ServerAddress {
  /** The value for `createTransport({ baseUrl })`. */
  url: string;
  host?: string;
  port?: number;
  path?: string;
}

export const DEFAULT_PORT = 50051;

const listenChecks = {
  host: someText,
  port: whole(0, 65_535),
  path: someText,
} satisfies Checks<ListenOptions>;

/** Throws INVALID_ARGUMENT if the options of listen() are not valid. */
export function checkListen(options: ListenOptions): void {
  checkOptions("listen", options, listenChecks);
  if (options.path === undefined) return;
  const other = (["host", "port"] as const).find((name) => options[name] !== undefined);
  if (other === undefined) return;
  const what = `path is for a Unix socket, and ${other} for TCP: give one of them`;
  throw failure(Code.InvalidArgument, `listen: ${what}`);
}

/** How a server ends. */
export interface CloseOptions {
  /**
   * How long the server takes calls as before, while its health is NOT_SERVING, in milliseconds: for balancers that ask for it
   * now and then, and for platforms that take a server out of their addresses meanwhile. Default: 0.
   */
  drainDelayMs?: number;
  /** How long open calls may take to finish after `drainDelayMs`, in milliseconds. Infinity waits until they have. Default: 10 000. */
  graceMs?: number;
  /**
   * Whether the server still listens while sessions are open, for at most `graceMs`: a session that loses its
   * connection can then continue, and end normally. New calls are refused (REFUSED_STREAM). Meanwhile no other process
   * can have the port, or the path; `false` frees it immediately. Default: true.
   */
  keepListening?: boolean;
}

const closeChecks = {
  drainDelayMs: notNegative,
  graceMs: notNegativeOrInfinite,
  keepListening: trueOrFalse,
} satisfies Checks<CloseOptions>;

/** Throws INVALID_ARGUMENT if the options of close() are not valid. */
export function checkClose(options: CloseOptions): void {
  checkOptions("close", options, closeChecks);
}
