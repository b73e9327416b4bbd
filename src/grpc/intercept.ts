import type { Interceptor } from "@connectrpc/connect";
import { deadlineExceeded, fromAbort, handled } from "../failure.ts";
import { iterateIn } from "../flow/context.ts";
import { runtime } from "../flow/runtime.ts";
import { onAbort, startTimer } from "../flow/wait.ts";
import type { Deadline } from "./timeout.ts";

type Next = ReturnType<Interceptor>;

/** `next` with the interceptors around it; the first is the outermost. */
export function intercept<Fn>(next: Fn, interceptors: readonly Interceptor[]): Fn {
  return interceptors.reduceRight((inner, wrap) => wrap(inner), next as Next) as Fn;
}

/**
 * Has the messages of both directions iterated in the context (AsyncLocalStorage)
 * in which they were passed on. A generator begins at the first next(), which its
 * reader calls, outside of any `als.run()`: so this stands between any two
 * interceptors, and between an interceptor and the handler.
 */
export const keepContext: Interceptor = (next) => async (request) => {
  if (!request.stream) return await next(request);
  const context = runtime.currentContext();
  const message = iterateIn(context, request.message);
  const response = await next({ ...request, message });
  if (!response.stream) return response;
  return { ...response, message: iterateIn(context, response.message) };
};

/** The interceptors of a server, with keepContext after each: before the next one, or the handler. */
export function aroundHandler(interceptors: readonly Interceptor[]): Interceptor[] {
  return interceptors.flatMap((interceptor) => [interceptor, keepContext]);
}

/** The interceptors of a client, with keepContext before each: after the caller, or the one before. */
export function aroundCall(interceptors: readonly Interceptor[]): Interceptor[] {
  return interceptors.flatMap((interceptor) => [keepContext, interceptor]);
}

/**
 * A call as its interceptors see it: they always get a signal, and they count
 * towards the deadline, whatever they wait for.
 */
export function intercepted(signal: AbortSignal | undefined, deadline: Deadline | undefined) {
  const controller = new AbortController();
  const cut = Promise.withResolvers<never>();
  handled(cut.promise);
  let listening: Disposable | undefined;
  let timer: Disposable | undefined;
  /** The call is over: its deadline and its caller no longer abort it, and its signal aborts. */
  const over = (error?: unknown): void => {
    listening?.[Symbol.dispose]();
    timer?.[Symbol.dispose]();
    controller.abort(error);
  };
  const abort = (error: unknown) => {
    cut.reject(error);
    over(error);
  };
  listening = onAbort(signal, (reason) => abort(fromAbort(reason)));
  if (deadline !== undefined && !controller.signal.aborted) {
    timer = startTimer(deadline.endsAt - performance.now(), () =>
      abort(deadlineExceeded(deadline.timeoutMs)),
    );
  }
  return {
    signal: controller.signal,
    /** Resolves as the interceptors do; rejects where the call ends before. */
    async race<T>(answer: Promise<T>): Promise<T> {
      using _process = timer && stay();
      return await Promise.race([answer, cut.promise]);
    },
    over,
  };
}

/** Keeps the process alive, so that the deadline ends a call whose interceptors wait for what does not. */
function stay(): Disposable {
  return startTimer(Number.MAX_SAFE_INTEGER, () => {}, true);
}
