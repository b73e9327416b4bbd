import type { Interceptor } from "@connectrpc/connect";
import { deadlineExceeded, fromAbort, handled } from "../failure.ts";
import { after, onAbort } from "../flow.ts";
import type { Deadline } from "./timeout.ts";

type Next = ReturnType<Interceptor>;

/** `next` with the interceptors around it; the first is the outermost. */
export function intercept<Fn>(next: Fn, interceptors: readonly Interceptor[]): Fn {
  return interceptors.reduceRight((inner, wrap) => wrap(inner), next as Next) as Fn;
}

/**
 * A call as its interceptors see it: they always get a signal, and they count
 * towards the deadline, whatever they wait for.
 */
export function intercepted(signal: AbortSignal | undefined, deadline: Deadline | undefined) {
  const controller = new AbortController();
  const cut = Promise.withResolvers<never>();
  handled(cut.promise);
  const abort = (error: unknown) => {
    cut.reject(error);
    controller.abort(error);
  };
  const listening = onAbort(signal, (reason) => abort(fromAbort(reason)));
  const timer =
    deadline === undefined
      ? undefined
      : after(deadline.endsAt - performance.now(), () =>
          abort(deadlineExceeded(deadline.timeoutMs)),
        );
  return {
    signal: controller.signal,
    /** What the interceptors answer, or the end of the call before they do. */
    async race<T>(answer: Promise<T>): Promise<T> {
      using _process = timer && stay();
      return await Promise.race([answer, cut.promise]);
    },
    /** The call is over: nothing aborts it any more, and the signal says so. */
    over(error?: unknown): void {
      listening[Symbol.dispose]();
      timer?.[Symbol.dispose]();
      controller.abort(error);
    },
  };
}

/** Keeps the process alive: interceptors may wait for what does not, and the deadline must come all the same. */
function stay(): Disposable {
  return after(Number.MAX_SAFE_INTEGER, () => {}, true);
}
