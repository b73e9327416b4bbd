import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient } from "../client/create-client.ts";
import type { ServerAddress, ListenOptions, ServerOptions, TlsOptions } from "../node/server-options.ts";
import { createTransport } from "../node/transport.ts";
import type { ClosableTransport, TransportOptions } from "../node/transport-options.ts";
import { anObject, type Checks, callable, checkOptions, needed } from "../options.ts";
import { type Link, openLink, type TcpLink } from "./link.ts";
import { RestartableServer, type WorldServer } from "./server.ts";

/** What startWorld() starts. */
export interface WorldOptions {
  /** Registers the services, as for createServer(). Runs once at the start, and once at each restart. */
  routes: ServerOptions["routes"];
  /** Further options of createServer(). */
  server?: Omit<ServerOptions, "routes">;
  /** Further options of createTransport(). */
  transport?: Omit<TransportOptions, "baseUrl">;
  /** The server's certificate and key. The transport trusts them, and has no other CA. Default: no TLS. */
  tls?: Pick<TlsOptions, "cert" | "key">;
  /** Where the server listens. Default: a free port of 127.0.0.1. */
  listen?: ListenOptions;
}

/**
 * A server and a transport in one process, on real sockets, with a link between them that a test can cut, stall and
 * slow down. To dispose of it closes the transport, kills the server and removes the link: calls that are still open
 * fail with CANCELED, and no socket and no timer is left.
 */
export interface World extends AsyncDisposable {
  /** Where clients connect: the link. For a transport of your own: `createTransport({ baseUrl: world.url })`. */
  readonly url: string;
  /** Reaches the server through the link. */
  readonly transport: ClosableTransport;
  readonly server: WorldServer;
  readonly link: Link;
  /** Makes a typed client of the transport, as createClient() does. */
  client<Service extends DescService>(service: Service): Client<Service>;
}

const HERE = "startWorld";

const checks = {
  routes: needed(callable),
  server: anObject,
  transport: anObject,
  tls: anObject,
  listen: anObject,
} satisfies Checks<WorldOptions>;

/**
 * Starts a world for a test: `await using world = await startWorld((router) => router.service(Chat, handlers))`.
 * Rejects with INVALID_ARGUMENT where an option is unknown or not what it must be, and with FAILED_PRECONDITION where
 * the address of `listen` is taken.
 */
export async function startWorld(given: ServerOptions["routes"] | WorldOptions): Promise<World> {
  const options = typeof given === "function" ? { routes: given } : given;
  checkOptions(HERE, options, checks);
  const server = new RestartableServer({
    ...options.server,
    ...(options.tls && { tls: { ...options.tls, ...options.server?.tls } }),
    routes: options.routes,
  });
  const address = await server.listen(options.listen ?? { port: 0 });
  let link: TcpLink | undefined;
  try {
    link = await linkTo(address, (options.tls ?? options.server?.tls) !== undefined);
    const transport = createTransport({
      ...options.transport,
      ...(options.tls && { tls: { ca: options.tls.cert, ...options.transport?.tls } }),
      baseUrl: link.url,
    });
    return new TestWorld(server, link, transport);
  } catch (error) {
    await server.kill();
    await link?.[Symbol.asyncDispose]();
    throw error;
  }
}

/** A link on a loopback address of the same family as that of the server. */
function linkTo({ host = "", port = 0, path }: ServerAddress, tls: boolean): Promise<TcpLink> {
  const target = path === undefined ? { host: reachable(host), port } : { path };
  return openLink(target, { host: host.includes(":") ? "::1" : "127.0.0.1", tls });
}

/** The address of this machine where a server listens on all. */
function reachable(host: string): string {
  if (host === "0.0.0.0") return "127.0.0.1";
  return host === "::" ? "::1" : host;
}

class TestWorld implements World {
  readonly server: RestartableServer;
  readonly link: TcpLink;
  readonly transport: ClosableTransport;

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

  async [Symbol.asyncDispose](): Promise<void> {
    await this.transport.close();
    await this.server.kill();
    await this.link[Symbol.asyncDispose]();
  }
}
