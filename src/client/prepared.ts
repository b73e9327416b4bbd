import type { ContextValues, StreamResponse, Transport, UnaryResponse } from "@connectrpc/connect";
import { deadlineExceeded, fromAbort, handled } from "../failure.ts";
import { onAbort, startTimer } from "../flow/wait.ts";
import {
  callHeaders,
  type HeadersFunction,
  runHeaders,
  runsCallHeaders,
} from "../grpc/call-headers.ts";
import type { CallOptions } from "./call-options.ts";
import { contextValuesOf, over } from "./context-values.ts";

/** What a transport is given for a call. */
export interface Prepared {
  readonly transport: Transport;
  readonly header: HeadersInit | undefined;
  readonly values: ContextValues | undefined;
}

/** A call with these options on this transport; where they have a function for headers, the transport runs it. */
export function prepared(transport: Transport, options: CallOptions | undefined): Prepared {
  const header = options?.headers;
  const values = contextValuesOf(options);
  if (typeof header !== "function") return { transport, header, values };
  if (runsCallHeaders in transport) {
    return { transport, header: undefined, values: over(values, callHeaders, header) };
  }
  return { transport: running(transport, header), header: undefined, values };
}

/** A transport that is not Hawser's, with the function run before the call. */
function running(transport: Transport, headers: HeadersFunction): Transport {
  return {
    async unary(method, signal, timeoutMs, _header, message, values): Promise<UnaryResponse> {
      const { header, leftMs } = await read(headers, signal, timeoutMs);
      return await transport.unary(method, signal, leftMs, header, message, values);
    },
    async stream(method, signal, timeoutMs, _header, messages, values): Promise<StreamResponse> {
      const { header, leftMs } = await read(headers, signal, timeoutMs);
      return await transport.stream(method, signal, leftMs, header, messages, values);
    },
  } as Transport;
}

/** What the function says, and what is left of the deadline. The deadline and the caller end the wait. */
async function read(
  headers: HeadersFunction,
  signal: AbortSignal | undefined,
  timeoutMs: number | undefined,
): Promise<{ header: HeadersInit; leftMs: number | undefined }> {
  const began = performance.now();
  const ended = Promise.withResolvers<never>();
  handled(ended.promise);
  using _abort = onAbort(signal, (reason) => ended.reject(fromAbort(reason)));
  const limitMs = timeoutMs !== undefined && timeoutMs > 0 ? timeoutMs : undefined;
  using _timer =
    limitMs === undefined
      ? undefined
      : startTimer(limitMs, () => ended.reject(deadlineExceeded(limitMs)));
  const header = await Promise.race([runHeaders(headers), ended.promise]);
  const tookMs = performance.now() - began;
  return { header, leftMs: limitMs === undefined ? timeoutMs : Math.max(limitMs - tookMs, 1) };
}
