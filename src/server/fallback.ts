/** Serves what is no RPC by a function from a Request to a Response (the Fetch standard), over any version of HTTP. */
import { onAbort } from "../flow/wait.ts";
import { show } from "../options.ts";

/** Serves what is no RPC: pages, files, a health check. What it throws is logged, and the client gets 500 without its text. */
export type Fallback = (request: Request) => Response | Promise<Response>;

/** A request that is no RPC, and the way of its response. */
export interface FallbackExchange {
  readonly method: string;
  readonly url: string;
  readonly header: Headers;
  readonly body: AsyncIterable<Uint8Array>;
  /** Aborts when the client leaves. It may also abort when the response was sent. */
  readonly signal: AbortSignal;
  /** Resolves when the body may be sent. */
  sendHeaders(status: number, header: Headers): Promise<void>;
  /** Sends a part of the body. Returns a promise while the client takes no more. Throws, or rejects, if it has left. */
  write(bytes: Uint8Array): Promise<void> | undefined;
  end(): void;
  /** Ends the response when it is too late for a status. */
  fail(error: unknown): void;
}

/** Methods whose requests have no body (Fetch). */
const WITHOUT_BODY = new Set(["GET", "HEAD"]);

/** Statuses whose responses have no body (Fetch). */
const EMPTY_STATUSES = new Set([204, 205, 304]);

/** A larger part of a body is sent in pieces, between which a slow client makes the sender wait. */
const PIECE_BYTES = 64 * 1024;

/** The methods of a request that Fetch refuses to make. */
const REFUSED_METHODS = new Set(["CONNECT", "TRACE", "TRACK"]);

/**
 * Has the fallback answer a request. Does not reject, unless the exchange does although its client is there.
 *
 * @param onError called with what it throws, and with the error of a body, if the client is still there
 */
export async function serveFallback(
  fallback: Fallback,
  exchange: FallbackExchange,
  onError: (error: unknown) => void,
): Promise<void> {
  const leaving = new AbortController();
  let isComplete = false;
  // A response that was sent is no reason to abort anything.
  using _listening = onAbort(exchange.signal, () => isComplete || leaving.abort());
  const { signal } = leaving;
  let hasBegun = false;
  try {
    const request = requestOf(exchange, signal);
    if (typeof request === "number") {
      await answerEmpty(exchange, request);
      return;
    }
    const { body, status, headers } = checked(await fallback(request));
    await exchange.sendHeaders(status, new Headers(headers));
    hasBegun = true;
    // The client does not wait for that: a source may take long to end.
    if (exchange.method === "HEAD" || EMPTY_STATUSES.has(status)) body?.cancel().catch(onError);
    else if (body !== null) await sendBody(body, { exchange, signal });
    isComplete = true;
    if (!signal.aborted) exchange.end();
  } catch (error) {
    // Then the error says no more than that the client has left.
    if (signal.aborted) return;
    onError(error);
    if (hasBegun) exchange.fail(error);
    else await answerEmpty(exchange, 500);
  }
}

async function answerEmpty(exchange: FallbackExchange, status: number): Promise<void> {
  await exchange.sendHeaders(status, new Headers({ "content-length": "0" }));
  exchange.end();
}

/** Returns the request, or the status of one that cannot be made. */
function requestOf(
  { method, url, header, body }: FallbackExchange,
  signal: AbortSignal,
): Request | number {
  if (REFUSED_METHODS.has(method)) return 501;
  const more = WITHOUT_BODY.has(method) ? {} : { body: streamOf(body), duplex: "half" as const };
  try {
    return new Request(url, { method, headers: header, signal, ...more });
  } catch {
    // The URL is not valid, or has a password.
    return 400;
  }
}

/** Reads a body no faster than the stream is read. The parts are copies: who gets one may transfer its memory. */
function streamOf(body: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array> {
  const parts = body[Symbol.asyncIterator]();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await parts.next();
        if (done) controller.close();
        else controller.enqueue(new Uint8Array(value));
      },
      async cancel() {
        await parts.return?.();
      },
    },
    { highWaterMark: 0 },
  );
}

/** Accepts the Response of any implementation. */
function checked(response: Response): Response {
  const { status, headers } = (response ?? {}) as Partial<Response>;
  if (typeof status === "number" && status >= 200 && headers !== undefined) return response;
  throw new TypeError(`the fallback returned ${show(response)}, and not a Response`);
}

/** Sends a body as fast as the client takes it. If it cannot be sent, the body is cancelled. */
async function sendBody(
  body: ReadableStream<Uint8Array>,
  { exchange, signal }: { exchange: FallbackExchange; signal: AbortSignal },
): Promise<void> {
  const reader = body.getReader();
  const cancel = (reason: unknown) => void reader.cancel(reason).catch(() => {});
  using _leaving = onAbort(signal, cancel);
  try {
    for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) {
      if (!(value instanceof Uint8Array)) {
        throw new TypeError(`a part of the body is ${show(value)}, and not a Uint8Array`);
      }
      for (let at = 0; at < value.length; at += PIECE_BYTES) {
        await exchange.write(value.subarray(at, at + PIECE_BYTES));
      }
    }
  } catch (error) {
    cancel(error);
    throw error;
  }
}
