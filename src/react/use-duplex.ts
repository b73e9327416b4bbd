import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { useMemo } from "react";
import type { BidirectionalCall } from "../client/create-client.ts";
import type { Duplex } from "../client/streaming-call.ts";
import { failure, handled } from "../failure.ts";
import { anything, type Checks, callable, checkOptions, needed } from "../options.ts";
import { type CallData, CallStore } from "./call-store.ts";
import { clientMethod } from "./client-method.ts";
import { useStore } from "./use-store.ts";

/** The options of useDuplex(). */
export interface UseDuplexOptions<Res, State> {
  /** The data before the first response. */
  readonly initial: State;
  /** Returns the data after a response. Each response is reduced once, in order; it must not change `data`. */
  readonly reduce: (data: State, response: Res) => State;
}

/** What a component sees of its bidirectional call. */
export interface DuplexData<Req, State> extends CallData<State> {
  /**
   * Sends a message, as Duplex.send() does, for event handlers and effects: rejects with FAILED_PRECONDITION before the
   * component is mounted, and after it is unmounted. The same function in all renders.
   */
  send(message: Req): Promise<void>;
  /** Half-closes, as Duplex.closeSend() does. The same function in all renders. */
  closeSend(): void;
}

const checks = { initial: anything, reduce: needed(callable) } satisfies Checks<
  UseDuplexOptions<unknown, unknown>
>;

/**
 * Makes a bidirectional call as long as the component is mounted, and renders it when the data changes. The call has a
 * session, if its server keeps sessions: it continues when its connection is lost.
 *
 * @example
 * const { data, state, send } = useDuplex(greeter.chat, {
 *   initial: new Array<string>(),
 *   reduce: (replies, { reply }) => [...replies, reply],
 * });
 */
export function useDuplex<I extends DescMessage, O extends DescMessage, State>(
  open: BidirectionalCall<I, O>,
  options: UseDuplexOptions<MessageShape<O>, State>,
): DuplexData<MessageInitShape<I>, State> {
  checkOptions("useDuplex", options, checks);
  clientMethod("useDuplex", open, "bidi_streaming");
  const { initial, reduce } = options;
  const cursorOf = () => undefined;
  const [store, data] = useStore<
    BidirectionalCall<I, O>,
    MessageShape<O>,
    State,
    Duplex<MessageInitShape<I>, MessageShape<O>>
  >({
    make: () => ({
      key: open,
      store: new CallStore({ initial, reduce, open: () => open(), cursorOf }),
    }),
    isFor: (key) => key === open,
    reduce,
  });
  const functions = useMemo(
    () => ({
      send: (message: MessageInitShape<I>) => store.call?.send(message) ?? handled(notMounted()),
      closeSend: () => store.call?.closeSend(),
    }),
    [store],
  );
  return useMemo(() => ({ ...data, ...functions }), [data, functions]);
}

function notMounted(): Promise<never> {
  const why = "useDuplex: the component is not mounted, so that it has no call to send on";
  return Promise.reject(failure(Code.FailedPrecondition, why));
}
