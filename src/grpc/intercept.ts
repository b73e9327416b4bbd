import type { Interceptor } from "@connectrpc/connect";
import { onAbort } from "../flow.ts";

type Next = ReturnType<Interceptor>;

/** `next` with the interceptors around it; the first is the outermost. */
export function intercept<Fn>(next: Fn, interceptors: readonly Interceptor[]): Fn {
  return interceptors.reduceRight((inner, wrap) => wrap(inner), next as Next) as Fn;
}

/** A signal for interceptors, which always expect one: aborts with the caller's, and when the call is over. */
export function linkedSignal(signal: AbortSignal | undefined): {
  signal: AbortSignal;
  over: (error?: unknown) => void;
} {
  const controller = new AbortController();
  const listening = onAbort(signal, (reason) => controller.abort(reason));
  return {
    signal: controller.signal,
    over(error) {
      listening[Symbol.dispose]();
      controller.abort(error);
    },
  };
}
