import type { DescMethod } from "@bufbuild/protobuf";
import type { CallOptions as ConnectCallOptions, ConnectError } from "@connectrpc/connect";
import { asFailure } from "../failure.ts";
import type { CallHeaders } from "../grpc/call-headers.ts";
import {
  abortSignal,
  anything,
  type Check,
  type Checks,
  callable,
  timeout,
  trueOrFalse,
  unknownOption,
  withFunctions,
  wrong,
} from "../options.ts";
import { type SessionsOption, sessionsCheck } from "./session-option.ts";

/** The options of one call: Connect's, and those that Hawser adds. */
export interface CallOptions extends Omit<ConnectCallOptions, "headers"> {
  /**
   * Request headers of this call, which take precedence over those of the transport, by name; or a function that
   * returns them, for each attempt and for each connection that the call continues over. On a transport that is not
   * Hawser's the function runs once.
   */
  headers?: CallHeaders;
  /** Whether the requests of this call are compressed (gzip). Default: the transport's option. */
  compress?: boolean;
  /**
   * Whether this call outlives its connections, if the server keeps sessions. An object means yes, with this window;
   * fields that it lacks are the transport's. "required": the call fails if it cannot, with FAILED_PRECONDITION if the
   * server keeps no sessions, and with RESOURCE_EXHAUSTED if it takes no more. Default: the transport's option. A method
   * that continues from a cursor (hawser/v1/resume.proto) needs no session, and gets none; a unary call gets none either.
   */
  sessions?: SessionsOption;
}

const checks = new Map<string, Check>(
  Object.entries({
    timeoutMs: timeout,
    // The transport checks them when it sends them.
    headers: anything,
    signal: abortSignal,
    onHeader: callable,
    onTrailer: callable,
    contextValues: withFunctions("get", "set", "delete"),
    compress: trueOrFalse,
    sessions: sessionsCheck,
  } satisfies Checks<CallOptions>),
);

/** Returns INVALID_ARGUMENT, which says why a call cannot have these options, or `undefined` if it can. */
export function refusalOf(
  options: CallOptions | undefined,
  method: DescMethod,
): ConnectError | undefined {
  if (options === undefined) return undefined;
  if (typeof options !== "object" || options === null) {
    return wrong({ of: nameOf(method), option: "options" }, options, "an object");
  }
  for (const name in options) {
    const value: unknown = options[name as keyof CallOptions];
    if (isValidCommon(name, value)) continue;
    try {
      check(name, value, nameOf(method));
    } catch (error) {
      return asFailure(error);
    }
  }
  return undefined;
}

function check(name: string, value: unknown, of: string): void {
  const check = checks.get(name);
  if (check === undefined) throw unknownOption({ of, option: "" }, name, [...checks.keys()]);
  if (value !== undefined) check(value, { of, option: name });
}

/**
 * Whether an option is one of the common ones, and valid. Most calls have no others; `checks`, which is slower, is for
 * those.
 */
function isValidCommon(name: string, value: unknown): boolean {
  if (name === "timeoutMs") return typeof value === "number" && !Number.isNaN(value);
  if (name === "signal") return value instanceof AbortSignal;
  return name === "headers";
}

function nameOf({ parent, name }: DescMethod): string {
  return `${parent.typeName}.${name}`;
}
