/** The network between the page and the server: a TCP proxy whose open connections can be lost. New ones pass. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

export interface LossyLink extends AsyncDisposable {
  readonly url: string;
  /** Ends the open connections, at both ends. */
  cut(): void;
  /** Delivers nothing more on the open connections, and tells neither end. */
  silence(): void;
}

export async function openLossyLink(target: { host: string; port: number }): Promise<LossyLink> {
  const pairs = new Set<readonly [Socket, Socket]>();
  const silent = new Set<Socket>();
  const proxy = createServer({ noDelay: true }, (client) => {
    const server = connect({ ...target, noDelay: true });
    const pair = [client, server] as const;
    pairs.add(pair);
    for (const [from, to] of [pair, [server, client]] as const) {
      from.on("data", (bytes) => silent.has(from) || to.write(bytes));
      from.on("error", () => {});
      from.on("close", () => {
        if (silent.has(from)) return;
        pairs.delete(pair);
        to.destroy();
      });
    }
  });
  const cut = () => {
    for (const socket of [...pairs].flat()) socket.destroy();
    pairs.clear();
    silent.clear();
  };
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  return {
    url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    cut,
    silence() {
      for (const socket of [...pairs].flat()) silent.add(socket);
    },
    async [Symbol.asyncDispose]() {
      proxy.close();
      cut();
      await once(proxy, "close");
    },
  };
}
