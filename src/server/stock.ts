/**
 * The protocols that Connect's stock adapter serves: Connect, gRPC-Web, and
 * gRPC with JSON; over HTTP/1.1 and HTTP/2.
 */
import { ConnectError, type ConnectRouter, type Interceptor } from "@connectrpc/connect";
import { compressionGzip, connectNodeAdapter } from "@connectrpc/connect-node";
import type { withDefaults } from "./options.ts";

/** As node:http and node:http2's compatibility API hand over a request. */
export type NodeHandler = ReturnType<typeof connectNodeAdapter>;

export function createStockHandler(
  routes: (router: ConnectRouter) => void,
  options: ReturnType<typeof withDefaults>,
  shutdownSignal: AbortSignal,
  onHandlerError: (error: unknown, path: string) => void,
): NodeHandler {
  return connectNodeAdapter({
    routes,
    interceptors: [reportErrors(onHandlerError), ...options.interceptors],
    readMaxBytes: options.readMaxBytes,
    writeMaxBytes: options.writeMaxBytes,
    compressMinBytes: options.compressMinBytes,
    acceptCompression: [compressionGzip],
    maxTimeoutMs: options.maxTimeoutMs,
    shutdownSignal,
  });
}

/** Reports what a handler throws beside a ConnectError: the stock adapter hides it from the client, and from us. */
function reportErrors(report: (error: unknown, path: string) => void): Interceptor {
  const seen = (error: unknown, url: string): never => {
    if (!(error instanceof ConnectError)) report(error, new URL(url).pathname);
    throw error;
  };
  return (next) => async (request) => {
    try {
      const response = await next(request);
      if (!response.stream) return response;
      const message = observe(response.message, (error) => seen(error, request.url));
      return { ...response, message };
    } catch (error) {
      return seen(error, request.url);
    }
  };
}

async function* observe<T>(messages: AsyncIterable<T>, onError: (error: unknown) => never) {
  try {
    yield* messages;
  } catch (error) {
    onError(error);
  }
}
