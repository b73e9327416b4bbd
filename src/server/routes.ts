import type { DescService } from "@bufbuild/protobuf";
import {
  type ConnectRouter,
  type ConnectRouterOptions,
  createConnectRouter,
  createMethodImplSpec,
  createServiceImplSpec,
  type Interceptor,
  type MethodImplSpec,
} from "@connectrpc/connect";
import { checkResponses } from "../grpc/check-responses.ts";
import { aroundHandler } from "../grpc/intercept.ts";
import { RouteChecks, type RouteOptions } from "./check-routes.ts";

/** The routes that an application registered. */
export interface RegisteredRoutes {
  /** The methods that are served over gRPC, each with its handler. */
  readonly methods: { spec: MethodImplSpec; options: RouteOptions }[];
  /** The largest `readMaxBytes` of a route; 0 if none has one. */
  readonly readMaxBytes: number;
  /**
   * Registers the same routes on a Connect router. If a route has interceptors itself, `around` runs outside of them.
   */
  replay(router: ConnectRouter, around: Interceptor): void;
}

/**
 * Registers the services that a server has beside those of its application.
 *
 * @param services returns those that are registered
 */
export type OwnRoutes = (router: ConnectRouter, services: () => DescService[]) => void;

/**
 * Runs an application's `routes` once and records what it registers, so that every protocol serves the same handlers. Then
 * does so with `ownRoutes`.
 */
export function register(
  routes: (router: ConnectRouter) => void,
  ownRoutes: OwnRoutes = () => {},
): RegisteredRoutes {
  const methods: RegisteredRoutes["methods"] = [];
  const services: DescService[] = [];
  const replays: ((router: ConnectRouter, around: Interceptor) => void)[] = [];
  let largestReadMaxBytes = 0;
  const add = (spec: MethodImplSpec, options: RouteOptions) => {
    const { grpc, readMaxBytes = 0 } = (options ?? {}) as ConnectRouterOptions;
    largestReadMaxBytes = Math.max(largestReadMaxBytes, readMaxBytes);
    if (grpc !== false) methods.push({ spec, options });
    const { method, impl } = checkResponses(spec);
    services.push(method.parent);
    replays.push((router, around) =>
      router.rpc(method, impl, withOuterInterceptor(around, options)),
    );
  };
  const checks = new RouteChecks();
  const router: ConnectRouter = {
    handlers: createConnectRouter().handlers,
    service(service, implementation, options) {
      checks.service(service, implementation, options);
      const { methods: specs } = createServiceImplSpec(service, implementation);
      for (const spec of Object.values(specs)) add(spec, options);
      return router;
    },
    rpc(method, implementation, options) {
      checks.rpc(method, implementation, options);
      add(createMethodImplSpec(method, implementation), options);
      return router;
    },
  };
  routes(router);
  ownRoutes(router, () => [...new Set(services)]);
  return {
    methods,
    readMaxBytes: largestReadMaxBytes,
    replay(router, around) {
      for (const replay of replays) replay(router, around);
    },
  };
}

function withOuterInterceptor(around: Interceptor, options: RouteOptions): RouteOptions {
  if (options?.interceptors === undefined) return options;
  return { ...options, interceptors: [around, ...aroundHandler(options.interceptors)] };
}

/** The path of a method on the wire. */
export function pathOf({ method }: MethodImplSpec): string {
  return `/${method.parent.typeName}/${method.name}`;
}
