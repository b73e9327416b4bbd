import { once } from "node:events";
import {
  type AddressInfo,
  connect,
  createServer,
  type NetConnectOpts,
  type Socket,
} from "node:net";
import { Code, ConnectError } from "hawser";
import { systemCode } from "./report.ts";

/** A proxy between a client and its server that cuts the connections, as a broken network does. */
export interface CuttingProxy extends AsyncDisposable {
  /** The address that the client calls instead of the server's. */
  readonly url: string;
  /** How many connections the proxy has cut. */
  readonly cuts: number;
  /** Cuts the connections that are open now. */
  cut(): void;
}

/**
 * Opens a proxy on this machine for the server at an http, https or unix address. Throws UNAVAILABLE if no server
 * listens there: a client of the proxy would only see that its connection ends.
 */
export async function openCuttingProxy(serverUrl: string): Promise<CuttingProxy> {
  const { scheme, host, server } = addressesOf(serverUrl);
  await checkReachable(server, serverUrl);
  const pairs = new Map<Socket, Socket>();
  let cuts = 0;
  const proxy = createServer({ allowHalfOpen: true }, (client) => {
    const upstream = connect({ ...server, allowHalfOpen: true });
    pairs.set(client, upstream);
    const end = () => {
      pairs.delete(client);
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) socket.on("error", () => {}).on("close", end);
    client.pipe(upstream).pipe(client);
  }).listen(0, host);
  await once(proxy, "listening");
  const { port } = proxy.address() as AddressInfo;
  return {
    url: `${scheme}//${host.includes(":") ? `[${host}]` : host}:${port}`,
    get cuts() {
      return cuts;
    },
    cut() {
      for (const [client, upstream] of pairs) {
        cuts++;
        client.resetAndDestroy();
        // A unix socket has no reset.
        upstream.destroy();
      }
    },
    async [Symbol.asyncDispose]() {
      for (const [client, upstream] of pairs) {
        client.destroy();
        upstream.destroy();
      }
      proxy.close();
      await once(proxy, "close");
    },
  };
}

async function checkReachable(server: NetConnectOpts, url: string): Promise<void> {
  const socket = connect(server);
  try {
    await once(socket, "connect");
  } catch (error) {
    const reason = systemCode(error) ?? String(error);
    const message = `cannot reach ${url} (${reason}): is the server running? Start one with "npm start"`;
    throw new ConnectError(message, Code.Unavailable, undefined, undefined, error);
  } finally {
    socket.destroy();
  }
}

/** Returns the address of the server, and the scheme and host with which a client must call the proxy. */
function addressesOf(url: string) {
  if (url.startsWith("unix:")) {
    return { scheme: "http:", host: "127.0.0.1", server: { path: url.slice("unix:".length) } };
  }
  const { protocol: scheme, hostname, port } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, "");
  const isLocal = /^(localhost|127\.\d+\.\d+\.\d+|::1)$/.test(host);
  if (scheme === "https:" && !isLocal) {
    throw new ConnectError(
      `connections to ${host} cannot be cut: its certificate is not for this machine, where they are cut; ` +
        "use an http:// URL, or a server on this machine",
      Code.InvalidArgument,
    );
  }
  const server = { host, port: Number(port || (scheme === "https:" ? 443 : 80)) };
  return { scheme, host: isLocal ? host : "127.0.0.1", server };
}
