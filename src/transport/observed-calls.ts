import type {
  DescMessage,
  DescMethod,
  DescMethodStreaming,
  DescMethodUnary,
} from "@bufbuild/protobuf";
import type { StreamResponse, UnaryResponse } from "@connectrpc/connect";
import type { CallOpener, StreamingCallInit, UnaryCallInit } from "../client/open-call.ts";
import { asFailure } from "../failure.ts";
import type { Pause } from "../flow/pauses.ts";
import { addMetadata, asHeaders, notAllowed } from "../grpc/metadata.ts";
import { ClientCallObservation } from "../observe/client-call.ts";
import type { ClientObserver } from "../observe/events.ts";
import type { Notifier } from "../observe/notifier.ts";
import { lossName } from "../session/lost.ts";

/** What the calls of a transport have in common. */
export interface ObservedCallsInit {
  readonly calls: CallOpener;
  readonly notifier: Notifier<ClientObserver>;
  /** The addresses of the transport. */
  readonly target: string;
  /** The deadline of calls that set none. */
  readonly timeoutMs: number | undefined;
}

/** Makes the calls of a transport, and tells its observer of them. */
export class ObservedCalls implements CallOpener {
  readonly #init: ObservedCallsInit;

  constructor(init: ObservedCallsInit) {
    this.#init = init;
  }

  pause(pause: Pause): Promise<void> {
    return this.#init.calls.pause(pause);
  }

  observe(method: DescMethod, timeoutMs = this.#init.timeoutMs): ClientCallObservation {
    const { notifier, target } = this.#init;
    const hasDeadline = timeoutMs !== undefined && timeoutMs > 0 && timeoutMs < Infinity;
    const call = { method, target, timeoutMs: hasDeadline ? timeoutMs : undefined };
    return new ClientCallObservation(notifier, call, readHeaders);
  }

  openUnaryCall<I extends DescMessage, O extends DescMessage, R>(
    method: DescMethodUnary<I, O>,
    init: UnaryCallInit<I>,
    read: (response: UnaryResponse<I, O>) => R,
  ): Promise<R> {
    const observation = this.observe(method, init.timeoutMs);
    const response = this.#init.calls.openUnaryCall(
      method,
      { ...init, observation },
      (response) => response,
    );
    return response.then(
      (response) => {
        observation.end(undefined);
        return read(response);
      },
      (error) => {
        observation.end(asFailure(error));
        throw error;
      },
    );
  }

  /** Tells of the end of the call, unless that is another one's: of a call that continues from its cursor. */
  async openCall<I extends DescMessage, O extends DescMessage>(
    method: DescMethodStreaming<I, O>,
    init: StreamingCallInit<I>,
  ): Promise<StreamResponse<I, O>> {
    const { calls } = this.#init;
    if (init.observation !== undefined) return await calls.openCall(method, init);
    const observation = this.observe(method, init.timeoutMs);
    const onEnded = (error: unknown) => {
      if (error === undefined) observation.end(undefined);
      else observation.end(asFailure(error), lossName(error));
    };
    try {
      const response = await calls.openCall(method, { ...init, observation, onEnded });
      // Else the call ends later, by onEnded().
      if (!observation.isMade) onEnded(undefined);
      return response;
    } catch (error) {
      onEnded(error);
      throw error;
    }
  }
}

/** Throws INVALID_ARGUMENT if gRPC does not allow the headers. */
function readHeaders(given: HeadersInit): Headers {
  const headers = asHeaders(given);
  const wrong = addMetadata({}, headers);
  if (wrong !== undefined) throw notAllowed(wrong);
  return headers;
}
