/** Counts the calls that Connect's handlers serve, and tells the observer of a server of them. */
import { Code, type ConnectError, type Interceptor } from "@connectrpc/connect";
import { failure, fromAbort, toWire } from "../failure.ts";
import { iterateIn } from "../flow/context.ts";
import type { AsyncContext } from "../flow/runtime.ts";
import { onAbort } from "../flow/wait.ts";
import type { CallCounter, MessageCounter } from "../observe/call-counts.ts";
import type { ServerObserver } from "../observe/events.ts";
import type { Notifier } from "../observe/notifier.ts";
import { ServerCallObservation } from "../observe/server-call.ts";
import { connectRequest } from "./observed-requests.ts";

/** The error of a call whose responses were not read to their end. */
const LEFT = failure(Code.Canceled, "the client has left the call");

type End = (error?: ConnectError) => void;
type Response = Awaited<ReturnType<ReturnType<Interceptor>>>;

/** Returns the interceptor that counts calls, and how they end. */
export function countCalls(counter: CallCounter): Interceptor {
  return (next) => (request) => {
    counter.onStarted();
    const end = once(request.signal, (error) => counter.onEnded(error));
    return endOf(next(request), end);
  };
}

/** Returns the interceptor that tells an observer. It must be the outermost. */
export function observing(notifier: Notifier<ServerObserver>): Interceptor {
  return (next) => (request) => {
    const observation = new ServerCallObservation(notifier, connectRequest(request));
    const { scope, sent, received } = observation;
    const end = once(request.signal, (error) => observation.end(error));
    const signal = scope === undefined ? request.signal : signalIn(scope, request.signal);
    const run = async () => {
      if (!request.stream) received.addUnknown();
      const response = await (request.stream
        ? next({ ...request, signal, message: counted(request.message, received) })
        : next({ ...request, signal }));
      if (!response.stream) {
        sent.addUnknown();
        return response;
      }
      const message = scope === undefined ? response.message : iterateIn(scope, response.message);
      return { ...response, message: counted(message, sent) };
    };
    return endOf(scope === undefined ? run() : scope.runInAsyncScope(run), end);
  };
}

/**
 * Returns a function that calls `end` when it is first called. It is called with the reason when the signal aborts: the
 * responses of a client that has left may never be iterated to their end.
 */
function once(signal: AbortSignal, end: End): End {
  let isEnded = false;
  const listening = onAbort(signal, (reason) => endOnce(fromAbort(reason)));
  function endOnce(error?: ConnectError): void {
    if (isEnded) return;
    isEnded = true;
    end(error);
  }
  return (error) => {
    listening[Symbol.dispose]();
    endOnce(error);
  };
}

/** Calls `end` at the end of a call, with its error. */
async function endOf(answer: Promise<Response>, end: End): Promise<Response> {
  try {
    const response = await answer;
    if (response.stream) return { ...response, message: withEnd(response.message, end) };
    end();
    return response;
  } catch (error) {
    end(toWire(error));
    throw error;
  }
}

/** Returns a signal that aborts with another one, and calls its listeners in a context. */
function signalIn(scope: AsyncContext, signal: AbortSignal): AbortSignal {
  const controller = new AbortController();
  onAbort(signal, (reason) => scope.runInAsyncScope(() => controller.abort(reason)));
  return controller.signal;
}

/** Returns the messages, and counts those that are taken. */
async function* counted<T>(messages: AsyncIterable<T>, counter: MessageCounter): AsyncGenerator<T> {
  for await (const message of messages) {
    counter.addUnknown();
    yield message;
  }
}

async function* withEnd<T>(messages: AsyncIterable<T>, end: End): AsyncGenerator<T> {
  let error: ConnectError | undefined = LEFT;
  try {
    yield* messages;
    error = undefined;
  } catch (thrown) {
    error = toWire(thrown);
    throw thrown;
  } finally {
    end(error);
  }
}
