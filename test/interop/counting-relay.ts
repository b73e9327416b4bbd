/** A TCP proxy that counts what passes: how scenarios see pings and compression of a peer that tells nothing of them. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** What passed in one direction, over all connections. The frames are counted in cleartext alone. */
export interface Passed {
  bytes: number;
  /** PING frames. */
  pings: number;
  /** PING frames with ACK: answers to pings of the other direction. */
  answers: number;
}

export interface Counts {
  /** All that clients have opened. */
  readonly connections: number;
  /** To the server. */
  readonly up: Passed;
  /** From the server. */
  readonly down: Passed;
}

export interface CountingRelay extends AsyncDisposable {
  readonly port: number;
  readonly url: string;
  /** What has passed so far. */
  counts(): Counts;
}

/** Length, type and flags of a PING frame (RFC 9113, 6.7). No text in the scenarios has such bytes. */
const PING = Buffer.from([0, 0, 8, 6, 0]);
const ANSWER = Buffer.from([0, 0, 8, 6, 1]);

/** @param address HOST:PORT of the server */
export async function countingRelay(address: string): Promise<CountingRelay> {
  const [host, port] = address.split(":");
  const up: Passed = { bytes: 0, pings: 0, answers: 0 };
  const down: Passed = { bytes: 0, pings: 0, answers: 0 };
  const sockets = new Set<Socket>();
  const pass = (from: Socket, to: Socket, passed: Passed) => {
    // The end of the previous chunk, which a frame's header may begin in.
    let before: Buffer = Buffer.alloc(0);
    from.on("data", (chunk: Buffer) => {
      passed.bytes += chunk.length;
      const seen = Buffer.concat([before, chunk]);
      passed.pings += occurrences(seen, PING);
      passed.answers += occurrences(seen, ANSWER);
      before = seen.subarray(-(PING.length - 1));
    });
    from.pipe(to);
    from.on("error", () => to.destroy());
    from.on("close", () => to.destroy());
    sockets.add(from);
  };
  let connections = 0;
  const server = createServer((client) => {
    connections++;
    const upstream = connect(Number(port), host);
    pass(client, upstream, up);
    pass(upstream, client, down);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const own = (server.address() as AddressInfo).port;
  return {
    port: own,
    url: `http://127.0.0.1:${own}`,
    counts: () => ({ connections, up: { ...up }, down: { ...down } }),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

function occurrences(bytes: Buffer, pattern: Buffer): number {
  let count = 0;
  for (let at = bytes.indexOf(pattern); at !== -1; at = bytes.indexOf(pattern, at + 1)) count++;
  return count;
}
