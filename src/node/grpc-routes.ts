import type { DescMethod } from "@bufbuild/protobuf";
import { realClock } from "../flow/clock.ts";
import { runtime } from "../flow/runtime.ts";
import { FirstRequestTimer } from "../grpc/first-request-timer.ts";
import { aroundHandler } from "../grpc/intercept.ts";
import { limitsOf } from "../grpc/limits.ts";
import type { Route } from "../server/handler.ts";
import { pathOf, type RegisteredRoutes } from "../server/routes.ts";
import { nodeGzip } from "./gzip.ts";
import type { withDefaults } from "./server-options.ts";

/** Returns the methods that are served over gRPC, by path, with the options of their calls. */
export function grpcRoutes(
  methods: RegisteredRoutes["methods"],
  settings: ReturnType<typeof withDefaults>,
  onHandlerError: (error: unknown, method: DescMethod) => void,
): Map<string, Route> {
  // After sockets were read: timers of a process that was busy fire before that, and a request that has arrived by then is
  // not late. What came over TLS is delivered in the turn after that (socket-pipe.ts).
  const afterReads = (run: () => void) => runtime.inLaterTurn(() => runtime.inLaterTurn(run));
  const firstRequests = new FirstRequestTimer(realClock, afterReads);
  return new Map(
    methods.map(({ spec, options }) => [
      pathOf(spec),
      {
        spec,
        options: {
          interceptors: aroundHandler(options?.interceptors ?? settings.interceptors),
          ...limitsOf(options ?? {}, settings),
          compression: nodeGzip,
          compressMinBytes: options?.compressMinBytes ?? settings.compressMinBytes,
          maxTimeoutMs: options?.maxTimeoutMs ?? settings.maxTimeoutMs,
          sendCompression: settings.sendCompression,
          firstRequests,
          onHandlerError,
        },
      },
    ]),
  );
}
