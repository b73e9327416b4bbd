/** A proxy that keeps the bytes of the first connection through it, in both directions. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import * as tls from "node:tls";
import { certs } from "../../support/tls.ts";
import type { Chunk, Side } from "./transcript.ts";

export interface Recorder extends AsyncDisposable {
  /** HOST:PORT for the client. */
  readonly address: string;
  /** What the first connection has sent so far. */
  readonly chunks: readonly Chunk[];
  /** Resolves when the first connection is closed. */
  readonly closed: Promise<void>;
}

/** Starts a recorder before a server. With TLS it records what is inside, and the server gets that in cleartext. */
export async function startRecorder(server: string, options?: { tls: true }): Promise<Recorder> {
  const chunks: Chunk[] = [];
  const closed = Promise.withResolvers<void>();
  let connections = 0;
  const onConnection = (socket: Socket) => {
    const isFirst = connections++ === 0;
    const [host, port] = server.split(":");
    const upstream = connect({ host, port: Number(port), noDelay: true });
    relay("client", socket, upstream);
    relay("server", upstream, socket);
    if (isFirst) socket.once("close", () => closed.resolve());
    function relay(from: Side, source: Socket, target: Socket): void {
      source.on("error", () => {});
      source.on("close", () => target.destroy());
      source.on("end", () => target.end());
      source.on("data", (bytes) => {
        if (isFirst) chunks.push({ from, bytes: Buffer.from(bytes) });
        target.write(bytes);
      });
    }
  };
  const listener: Server =
    options === undefined
      ? createServer({ noDelay: true }, onConnection)
      : tls.createServer({ ...certs.server, ALPNProtocols: ["h2"], noDelay: true }, onConnection);
  listener.on("tlsClientError", () => {});
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  return {
    address: `127.0.0.1:${(listener.address() as AddressInfo).port}`,
    chunks,
    closed: closed.promise,
    async [Symbol.asyncDispose]() {
      const done = once(listener, "close");
      listener.close();
      await done;
    },
  };
}

/** Two chunks of one side, one immediately after the other, as one. */
export function joined(chunks: readonly Chunk[]): Chunk[] {
  const result: Chunk[] = [];
  for (const chunk of chunks) {
    const previous = result.at(-1);
    if (previous?.from !== chunk.from) result.push(chunk);
    else
      result[result.length - 1] = {
        from: chunk.from,
        bytes: Buffer.concat([previous.bytes, chunk.bytes]),
      };
  }
  return result;
}
