import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { Code, type ConnectRouter, type ConnectRouterOptions } from "@connectrpc/connect";
import { failure } from "../failure.ts";
import { binaryChecks } from "../grpc/limits.ts";
import {
  abortSignal,
  anObject,
  anything,
  type Checks,
  callable,
  checkOptions,
  listOf,
  notNegative,
  type OptionPlace,
  optionsOf,
  positive,
  show,
  suggestion,
  trueOrFalse,
  wrong,
} from "../options.ts";

/** The options that a route may set in place of the server's. */
export type RouteOptions = Parameters<ConnectRouter["service"]>[2];

const optionChecks = {
  grpc: trueOrFalse,
  grpcWeb: trueOrFalse,
  connect: trueOrFalse,
  interceptors: listOf(callable),
  readMaxBytes: positive,
  writeMaxBytes: positive,
  compressMinBytes: notNegative,
  maxTimeoutMs: positive,
  requireConnectProtocolHeader: trueOrFalse,
  shutdownSignal: abortSignal,
  acceptCompression: listOf(anObject),
  jsonOptions: anything,
  binaryOptions: optionsOf(binaryChecks),
  requestGate: noGate,
} satisfies Checks<ConnectRouterOptions>;

/** gRPC calls would pass Connect's gate by: it is one of Connect's handlers. */
function noGate(value: unknown, place: OptionPlace): never {
  throw wrong(place, value, "no gate (gRPC calls do not pass it): authenticate of createServer");
}

/** Checks what an application registers. Throws INVALID_ARGUMENT, which names the service, the method or the option. */
export class RouteChecks {
  /** How each method was registered, by the name of the method. */
  readonly #registered = new Map<string, string>();

  service(service: DescService, implementation: unknown, options: RouteOptions): void {
    const of = "router.service";
    if (kindOf(service) !== "service") {
      throw wrong({ of, option: "service" }, service, "a service of the generated code");
    }
    anObject(implementation, { of: `${of}(${service.typeName})`, option: "implementation" });
    checkHandlers(service, implementation as Record<string, unknown>);
    checkRouteOptions(`${of}(${service.typeName})`, options);
    for (const method of service.methods) this.#add(method, of);
  }

  rpc(method: DescMethod, implementation: unknown, options: RouteOptions): void {
    const of = "router.rpc";
    if (kindOf(method) !== "rpc") {
      throw wrong({ of, option: "method" }, method, "a method of the generated code");
    }
    const here = `${of}(${nameOf(method)})`;
    callable(implementation, { of: here, option: "implementation" });
    checkRouteOptions(here, options);
    this.#add(method, of);
  }

  #add(method: DescMethod, how: string): void {
    const name = nameOf(method);
    const earlier = this.#registered.get(name);
    if (earlier !== undefined) {
      const what = how === earlier ? `twice, by ${how}` : `by ${earlier} and by ${how}`;
      throw failure(Code.InvalidArgument, `createServer: ${name} is registered ${what}: leave one`);
    }
    this.#registered.set(name, how);
  }
}

function checkRouteOptions(of: string, options: RouteOptions): void {
  if (options !== undefined) checkOptions<ConnectRouterOptions>(of, options, optionChecks);
}

/**
 * Checks that each handler is a function. In a plain object any other function is an error, because it would never be
 * called.
 */
function checkHandlers(service: DescService, implementation: Record<string, unknown>): void {
  const names = service.methods.map(({ localName }) => localName);
  for (const method of service.methods) {
    const handler = implementation[method.localName];
    if (handler === undefined || typeof handler === "function") continue;
    const what = `its handler is ${show(handler)}, and must be a function`;
    throw failure(Code.InvalidArgument, `createServer: ${nameOf(method)}: ${what}`);
  }
  const prototype = Object.getPrototypeOf(implementation);
  if (prototype !== Object.prototype && prototype !== null) return;
  for (const [name, value] of Object.entries(implementation)) {
    if (typeof value !== "function" || names.includes(name)) continue;
    throw failure(
      Code.InvalidArgument,
      `createServer: ${service.typeName} has no method \`${name}\`: ${suggestion(name, names)}`,
    );
  }
}

function kindOf(descriptor: unknown): unknown {
  return (descriptor as { kind?: unknown } | null | undefined)?.kind;
}

function nameOf({ parent, name }: DescMethod): string {
  return `${parent.typeName}.${name}`;
}
