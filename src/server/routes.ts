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

/** What an application's `routes` registered. */
export interface Registered {
  /** Each method with its handler. */
  readonly methods: { spec: MethodImplSpec; options: RouteOptions }[];
  /** Registers the same on a router of Connect's, with `around` outside of the interceptors of routes that have their own. */
  replay(router: ConnectRouter, around: Interceptor): void;
}

/**
 * Runs an application's `routes` once and notes what it registers, so that
 * every protocol serves the same handlers.
 */
export function register(routes: (router: ConnectRouter) => void): Registered {
  const methods: Registered["methods"] = [];
  const replays: ((router: ConnectRouter, around: Interceptor) => void)[] = [];
  const add = (spec: MethodImplSpec, options: RouteOptions) => {
    const { grpc } = (options ?? {}) as ConnectRouterOptions;
    if (grpc !== false) methods.push({ spec, options });
    const { method, impl } = checkResponses(spec);
    replays.push((router, around) => router.rpc(method, impl, within(around, options)));
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
  return {
    methods,
    replay(router, around) {
      for (const replay of replays) replay(router, around);
    },
  };
}

function within(around: Interceptor, options: RouteOptions): RouteOptions {
  if (options?.interceptors === undefined) return options;
  return { ...options, interceptors: [around, ...aroundHandler(options.interceptors)] };
}

/** The path of a method on the wire. */
export function pathOf({ method }: MethodImplSpec): string {
  return `/${method.parent.typeName}/${method.name}`;
}
