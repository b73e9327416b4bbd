import {
  type ConnectRouter,
  createConnectRouter,
  createMethodImplSpec,
  createServiceImplSpec,
  type MethodImplSpec,
} from "@connectrpc/connect";

/** Options that a route may set for itself, over the server's. */
export type RouteOptions = Parameters<ConnectRouter["service"]>[2];

/** What an application's `routes` registered. */
export interface Registered {
  /** Each method with its handler. */
  readonly methods: { spec: MethodImplSpec; options: RouteOptions }[];
  /** Registers the same again on a router of Connect's. */
  replay(router: ConnectRouter): void;
}

/**
 * Runs an application's `routes` once and writes down what it registers, so
 * that every protocol serves the same handlers.
 */
export function register(routes: (router: ConnectRouter) => void): Registered {
  const methods: Registered["methods"] = [];
  const replays: ((router: ConnectRouter) => void)[] = [];
  const router: ConnectRouter = {
    handlers: createConnectRouter().handlers,
    service(service, implementation, options) {
      const { methods: specs } = createServiceImplSpec(service, implementation);
      for (const spec of Object.values(specs)) methods.push({ spec, options });
      replays.push((router) => router.service(service, implementation, options));
      return router;
    },
    rpc(method, implementation, options) {
      methods.push({ spec: createMethodImplSpec(method, implementation), options });
      replays.push((router) => router.rpc(method, implementation, options));
      return router;
    },
  };
  routes(router);
  return {
    methods,
    replay(router) {
      for (const replay of replays) replay(router);
    },
  };
}

/** The path of a method on the wire. */
export function pathOf({ method }: MethodImplSpec): string {
  return `/${method.parent.typeName}/${method.name}`;
}
