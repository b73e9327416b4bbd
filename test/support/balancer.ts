import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** What stands before servers that come and go: connections wait here while there is none. */
export interface Balancer extends AsyncDisposable {
  readonly url: string;
  /** New connections, and those that wait, lead to this port. */
  lead(port: number): void;
  /** New connections wait. */
  hold(): void;
}

export async function openBalancer(): Promise<Balancer> {
  const sockets = new Set<Socket>();
  const waiting = new Set<Socket>();
  let target: number | undefined;

  function join(client: Socket, port: number): void {
    const upstream = connect({ port, host: "127.0.0.1", noDelay: true });
    keep(upstream);
    client.pipe(upstream).pipe(client);
    client.on("close", () => upstream.destroy());
    upstream.on("close", () => client.destroy());
  }

  function keep(socket: Socket): void {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket) && waiting.delete(socket));
  }

  const server = createServer({ noDelay: true }, (client) => {
    keep(client);
    if (target === undefined) waiting.add(client);
    else join(client, target);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${port}`,
    lead(port) {
      target = port;
      for (const client of waiting) join(client, port);
      waiting.clear();
    },
    hold() {
      target = undefined;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
