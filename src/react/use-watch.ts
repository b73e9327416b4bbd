import {
  clone,
  create,
  type DescMessage,
  equals,
  type Message,
  type MessageInitShape,
} from "@bufbuild/protobuf";
import type { CallOptions } from "../client/call-options.ts";
import { resumptionOf } from "../client/resume.ts";
import type { ServerStream } from "../client/streaming-call.ts";
import { anything, type Checks, callable, checkOptions, needed } from "../options.ts";
import { type CallData, CallStore } from "./call-store.ts";
import { clientMethod } from "./client-method.ts";
import { useStore } from "./use-store.ts";

/** The options of useWatch(). */
export interface UseWatchOptions<Res, State> {
  /** The data before the first response. */
  readonly initial: State;
  /** Returns the data after a response. Each response is reduced once, in order; it must not change `data`. */
  readonly reduce: (data: State, response: Res) => State;
}

const checks = { initial: anything, reduce: needed(callable) } satisfies Checks<
  UseWatchOptions<unknown, unknown>
>;

/**
 * Makes a server-streaming call as long as the component is mounted, and renders it when the data changes. The call is made
 * again if the request is another one by its fields, or the client is.
 *
 * If the method declares a cursor (hawser/v1/resume.proto), the call continues after it: when its connection is lost, and
 * when the component is hidden for a while and shown again. Without one, data begins again with `initial` then.
 *
 * @example
 * const { data, state } = useWatch(rooms.watch, { room }, {
 *   initial: new Array<string>(),
 *   reduce: (texts, { event }) => (event.case === "message" ? [...texts, event.value.text] : texts),
 * });
 */
export function useWatch<Req, Res, State>(
  watch: (request: Req, options?: CallOptions) => ServerStream<Res>,
  request: NoInfer<Req>,
  options: UseWatchOptions<Res, State>,
): CallData<State> {
  checkOptions("useWatch", options, checks);
  const method = clientMethod("useWatch", watch, "server_streaming");
  const { initial, reduce } = options;
  const resumption = resumptionOf(method);
  // A Req is an initializer of the method's input.
  const message = create(method.input, request as MessageInitShape<DescMessage>);

  const cursorOf = (response: Res) => {
    if (resumption === undefined) return undefined;
    const cursor = (response as Record<string, unknown>)[resumption.cursor];
    return typeof cursor === "string" && cursor !== "" ? cursor : undefined;
  };
  const make = () => {
    // A copy: the caller may change its request later.
    const own = clone(method.input, message);
    const open = (cursor: string | undefined) => {
      const next = clone(method.input, own);
      if (resumption !== undefined && cursor !== undefined) {
        Object.assign(next, { [resumption.after]: cursor });
      }
      // A message of the method's input is a Req.
      return watch(next as Req);
    };
    return {
      key: { watch, message: own },
      store: new CallStore({ initial, reduce, open, cursorOf }),
    };
  };
  const [, data] = useStore<WatchKey<Req, Res>, Res, State, ServerStream<Res>>({
    make,
    isFor: (key) => key.watch === watch && equals(method.input, key.message, message),
    reduce,
  });
  return data;
}

/** Which call a store is for. */
interface WatchKey<Req, Res> {
  readonly watch: (request: Req, options?: CallOptions) => ServerStream<Res>;
  readonly message: Message;
}
