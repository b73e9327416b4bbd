/** Ends the calls whose callers' credentials expire. */
import type { ConnectError, ContextValues, Interceptor } from "@connectrpc/connect";
import { expired, handled } from "../failure.ts";
import { untilAborted } from "../flow/pump.ts";
import { startTimer } from "../flow/wait.ts";
import { CallValues } from "../grpc/caller.ts";

/**
 * Calls `end` with that error when the credentials expire.
 *
 * @param expiresAtMs by Date.now()
 */
export function atExpiry(
  expiresAtMs: number | undefined,
  end: (error: ConnectError) => void,
): Disposable | undefined {
  if (expiresAtMs === undefined || expiresAtMs === Number.POSITIVE_INFINITY) return undefined;
  return startTimer(expiresAtMs - Date.now(), () => end(expired()));
}

/** Ends the calls of Connect's handlers. */
export const endExpired: Interceptor = (next) => async (request) => {
  const controller = new AbortController();
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = atExpiry(expiryOf(request.contextValues), (error) => {
    reject(error);
    controller.abort(error);
  });
  if (timer === undefined) return await next(request);
  const signal = AbortSignal.any([request.signal, controller.signal]);
  let isOver = true;
  try {
    const response = await Promise.race([next({ ...request, signal }), handled(promise)]);
    if (!response.stream) return response;
    isOver = false;
    const message = untilAborted(response.message, controller.signal);
    return { ...response, message: disposing(timer, message) };
  } finally {
    if (isOver) timer[Symbol.dispose]();
  }
};

function expiryOf(values: ContextValues): number | undefined {
  return values instanceof CallValues ? values.caller.expiresAtMs : undefined;
}

async function* disposing<T>(timer: Disposable, messages: AsyncIterable<T>): AsyncGenerator<T> {
  using _timer = timer;
  yield* messages;
}
