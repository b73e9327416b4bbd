import type { DescService } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { type Client, createClient } from "../client/create-client.ts";
import { failure } from "../failure.ts";
import type { ListenOptions } from "../node/listen-options.ts";
import type { ServerOptions, TlsOptions } from "../node/server-options.ts";
import { createTransport } from "../node/transport.ts";
import type { TransportOptions } from "../node/transport-options.ts";
import { anObject, type Check, type Checks, callable, checkOptions, needed } from "../options.ts";
import type { ClosableTransport } from "../transport/transport-options.ts";
import { type Link, TcpLink } from "./link.ts";
import { RestartableServer, type WorldServer } from "./server.ts";

/** The options of startWorld(). */
export interface WorldOptions {
  /** Registers the services, as for createServer(). Runs once at the start, and once at each restart. */
  routes: ServerOptions["routes"];
  /** Further options of createServer(). */
  server?: Omit<ServerOptions, "routes">;
  /** Further options of createTransport(). */
  transport?: Omit<TransportOptions, "baseUrl">;
  /** The server's certificate and key. The transport trusts only this certificate. Default: no TLS. */
  tls?: Pick<TlsOptions, "cert" | "key">;
  /** The address on which the server listens. Default: a free port of `host`; its default is 127.0.0.1. */
  listen?: ListenOptions;
}

/**
 * A server and a transport in one process, on real sockets, with a link between them that a test can cut, stall and
 * slow down. Disposing of it closes the transport, kills the server and removes the link: calls that are still open
 * fail with CANCELED, and no socket and no timer is left.
 */
export interface World extends AsyncDisposable {
  /**
   * The URL of the link, to which clients connect. A transport of your own: `createTransport({ baseUrl: world.url })`.
   */
  readonly url: string;
  /** A transport to the server, through the link. */
  readonly transport: ClosableTransport;
  readonly server: WorldServer;
  readonly link: Link;
  /** Makes a typed client of the transport, as createClient() does. */
  client<Service extends DescService>(service: Service): Client<Service>;
}

const HERE = "startWorld";

const checks = {
  routes: needed(callable),
  server: without("routes", "give routes beside server"),
  transport: without("baseUrl", "the world's transport leads to its link"),
  tls: anObject,
  listen: anObject,
} satisfies Checks<WorldOptions>;

/**
 * Starts a world for a test: `await using world = await startWorld((router) => router.service(Chat, handlers))`.
 * Rejects with INVALID_ARGUMENT if an option is unknown or not valid, and with FAILED_PRECONDITION if the address of
 * `listen` is in use.
 */
export async function startWorld(given: ServerOptions["routes"] | WorldOptions): Promise<World> {
  const options = typeof given === "function" ? { routes: given } : given;
  checkOptions(HERE, options, checks);
  const { tls } = options;
  const link = new TcpLink(undefined);
  const server = new RestartableServer(
    {
      ...options.server,
      ...(tls && { tls: { ...tls, ...options.server?.tls } }),
      routes: options.routes,
    },
    link,
  );
  const { host = "", port = 0, path } = await server.listen(onFreePort(options.listen ?? {}));
  try {
    link.target = path === undefined ? { host: reachableHost(host), port } : { path };
    await link.listen({
      host: host.includes(":") ? "::1" : "127.0.0.1",
      tls: (tls ?? options.server?.tls) !== undefined,
    });
    const transport = createTransport({
      ...options.transport,
      ...(tls && { tls: { ca: tls.cert, ...options.transport?.tls } }),
      baseUrl: link.url,
    });
    return new TestWorld(server, link, transport);
  } catch (error) {
    await server.kill();
    await link[Symbol.asyncDispose]();
    throw error;
  }
}

/** Accepts an object of further options, without the one that the world sets itself. */
function without(name: string, why: string): Check {
  return (value, place) => {
    anObject(value, place);
    if ((value as Record<string, unknown>)[name] === undefined) return;
    const what = `${place.of}: ${place.option}.${name} cannot be set: ${why}`;
    throw failure(Code.InvalidArgument, what);
  };
}

/** Adds a free port to an address that names neither a port nor a path: worlds run at the same time. */
function onFreePort(address: ListenOptions): ListenOptions {
  const isOpen = address.path === undefined && address.port === undefined;
  return isOpen ? { ...address, port: 0 } : address;
}

/** Returns an address of this machine for a server that listens on all of them. */
function reachableHost(host: string): string {
  if (host === "0.0.0.0") return "127.0.0.1";
  return host === "::" ? "::1" : host;
}

class TestWorld implements World {
  readonly server: RestartableServer;
  readonly link: TcpLink;
  readonly transport: ClosableTransport;
  #closed: Promise<void> | undefined;

  constructor(server: RestartableServer, link: TcpLink, transport: ClosableTransport) {
    this.server = server;
    this.link = link;
    this.transport = transport;
  }

  get url(): string {
    return this.link.url;
  }

  client<Service extends DescService>(service: Service): Client<Service> {
    return createClient(service, this.transport);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.server.refuseRestarts();
    await this.transport.close();
    await this.server.kill();
    await this.link[Symbol.asyncDispose]();
  }
}
