/** A TCP proxy that counts what passes: how scenarios see pings and compression of a peer that tells nothing of them. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

export interface CountingRelay extends AsyncDisposable {
  readonly port: number;
  readonly url: string;
  /** How many bytes went to the server and came from it so far, over all connections. */
  bytes(): { up: number; down: number };
}

/** @param address HOST:PORT of the server */
export async function countingRelay(address: string): Promise<CountingRelay> {
  const [host, port] = address.split(":");
  const count = { up: 0, down: 0 };
  const sockets = new Set<Socket>();
  const pass = (from: Socket, to: Socket, direction: "up" | "down") => {
    from.on("data", (chunk) => {
      count[direction] += chunk.length;
    });
    from.pipe(to);
    from.on("error", () => to.destroy());
    from.on("close", () => to.destroy());
    sockets.add(from);
  };
  const server = createServer((client) => {
    const upstream = connect(Number(port), host);
    pass(client, upstream, "up");
    pass(upstream, client, "down");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port: own } = server.address() as AddressInfo;
  return {
    port: own,
    url: `http://127.0.0.1:${own}`,
    bytes: () => ({ ...count }),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
