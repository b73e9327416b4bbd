import type { Interceptor } from "@connectrpc/connect";
import { deadlineExceeded, fromAbort, handled } from "../failure.ts";
import { iterateIn } from "../flow/context.ts";
import { runtime } from "../flow/runtime.ts";
import { type AbortSource, onAbort, startTimer } from "../flow/wait.ts";
import type { Deadline } from "./timeout.ts";

type Next = ReturnType<Interceptor>;

/** Returns `next` with the interceptors around it; the first one is the outermost. */
export function intercept<Fn>(next: Fn, interceptors: readonly Interceptor[]): Fn {
  return interceptors.reduceRight((inner, wrap) => wrap(inner), next as Next) as Fn;
}

/**
 * Iterates the messages of both directions in the context (AsyncLocalStorage) in
 * which they were passed on. A generator begins at the first next(), which its
 * reader calls outside of any `als.run()`. So this interceptor stands between any
 * two others, and between an interceptor and the handler.
 */
const keepContext: Interceptor = (next) => async (request) => {
  if (!request.stream) return await next(request);
  const context = runtime.currentContext();
  const message = iterateIn(context, request.message);
  const response = await next({ ...request, message });
  if (!response.stream) return response;
  return { ...response, message: iterateIn(context, response.message) };
};

/** Returns the interceptors of a server, with keepContext after each. */
export function aroundHandler(interceptors: readonly Interceptor[]): Interceptor[] {
  return interceptors.flatMap((interceptor) => [interceptor, keepContext]);
}

/** Returns the interceptors of a client, with keepContext before each. */
export function aroundCall(interceptors: readonly Interceptor[]): Interceptor[] {
  return interceptors.flatMap((interceptor) => [keepContext, interceptor]);
}

/**
 * Limits interceptors by the deadline and the signal of their call, whatever they
 * wait for. They always get a signal.
 */
export function intercepted(signal: AbortSource | undefined, deadline: Deadline | undefined) {
  const controller = new AbortController();
  const cut = Promise.withResolvers<never>();
  handled(cut.promise);
  let listening: Disposable | undefined;
  let timer: Disposable | undefined;
  /** Ends the call: stops its deadline and the caller's signal, and aborts its own signal. */
  const end = (error?: unknown): void => {
    listening?.[Symbol.dispose]();
    timer?.[Symbol.dispose]();
    controller.abort(error);
  };
  const abort = (error: unknown) => {
    cut.reject(error);
    end(error);
  };
  listening = onAbort(signal, (reason) => abort(fromAbort(reason)));
  if (deadline !== undefined && !controller.signal.aborted) {
    timer = startTimer(deadline.endsAt - performance.now(), () =>
      abort(deadlineExceeded(deadline.timeoutMs)),
    );
  }
  return {
    signal: controller.signal,
    /** Settles as `answer` does; rejects if the call ends before. */
    async race<T>(answer: Promise<T>): Promise<T> {
      const holding = timer && keepAlive();
      try {
        return await Promise.race([answer, cut.promise]);
      } finally {
        holding?.[Symbol.dispose]();
      }
    },
    end,
  };
}

/** Keeps the process alive, so that the deadline can end a call whose interceptors wait. */
function keepAlive(): Disposable {
  return startTimer(Number.MAX_SAFE_INTEGER, () => {}, true);
}
