import { once } from "node:events";
import { connect, createServer, type Socket, type SocketConnectOpts } from "node:net";
import { setTimeout as pause } from "node:timers/promises";

/** "up" is from the client to the server, "down" from the server to the client. */
export type Direction = "up" | "down";

/** How a connection ends: "fin" in order, "rst" as when the other machine has forgotten it. */
export type CutKind = "fin" | "rst";

/** What the link does to the bytes of one direction. Change it at any time: it holds from the next byte on. */
export interface Weather {
  /** Deliver nothing, and read no more than fits: the sender's socket fills up. */
  stalled: boolean;
  /** Read everything, deliver nothing: a cable pulled behind a switch that still answers. */
  swallowing: boolean;
  /** Deliver each byte this much later. */
  delayMs: number;
  /** Deliver at most this many bytes a second. */
  bytesPerSecond: number;
  /** How many bytes were delivered in this direction, over all connections. */
  readonly delivered: number;
}

/** A TCP proxy before a server: the wire between the two sides of a test, to be bent and cut while calls are on it. */
export interface Link extends AsyncDisposable {
  readonly port: number;
  /** `http://127.0.0.1:port` */
  readonly url: string;
  /** Where new connections lead; set it when the server comes back on another port. */
  target: SocketConnectOpts;
  /** While true, new connections are reset as soon as they are accepted. */
  refusing: boolean;
  readonly up: Weather;
  readonly down: Weather;
  /** How many connections were accepted so far. */
  readonly accepted: number;
  /** How many connections there are now. */
  readonly open: number;
  /** Ends every connection now. What is not delivered yet is lost. */
  cut(kind?: CutKind): void;
  /** Delivers exactly so many bytes more in this direction, then cuts that connection; resolves when it has. */
  cutAfter(direction: Direction, bytes: number, kind?: CutKind): Promise<void>;
  /** Stalls one direction, or both. */
  stall(direction?: Direction): void;
  resume(direction?: Direction): void;
}

type Pair = readonly [client: Socket, upstream: Socket];

/** Opens a link on a free port of 127.0.0.1. */
export async function openLink(target: SocketConnectOpts): Promise<Link> {
  const closing = new AbortController();
  const up = new Lane(closing.signal);
  const down = new Lane(closing.signal);
  const pairs = new Set<Pair>();

  // The time of a byte on its way is the weather's alone: no waiting for acknowledgements (Nagle).
  const options = { allowHalfOpen: true, noDelay: true };
  const server = createServer(options, (client) => {
    link.accepted += 1;
    client.on("error", () => {});
    if (link.refusing) {
      client.resetAndDestroy();
      return;
    }
    const upstream = connect({ ...link.target, ...options });
    upstream.on("error", () => {});
    const pair: Pair = [client, upstream];
    pairs.add(pair);
    for (const socket of pair) {
      socket.on("close", () => client.closed && upstream.closed && pairs.delete(pair));
    }
    up.carry(client, upstream, pair);
    down.carry(upstream, client, pair);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };

  const link = {
    port,
    url: `http://127.0.0.1:${port}`,
    target,
    refusing: false,
    up,
    down,
    accepted: 0,
    get open() {
      return pairs.size;
    },
    cut(kind: CutKind = "rst") {
      for (const pair of pairs) {
        cutPair(pair, kind);
      }
    },
    cutAfter(direction: Direction, bytes: number, kind: CutKind = "rst") {
      return new Promise<void>((resolve) => {
        link[direction].cutAfter(bytes, (pair) => {
          cutPair(pair, kind);
          resolve();
        });
      });
    },
    stall(direction?: Direction) {
      up.stalled ||= direction !== "down";
      down.stalled ||= direction !== "up";
    },
    resume(direction?: Direction) {
      up.stalled &&= direction === "down";
      down.stalled &&= direction === "up";
    },
    async [Symbol.asyncDispose]() {
      closing.abort();
      for (const socket of [...pairs].flat()) {
        socket.destroy();
      }
      // The server's 'close' comes when the last of its connections is gone.
      server.close();
      await once(server, "close");
    },
  };
  return link;
}

function cutPair(pair: Pair, kind: CutKind): void {
  for (const socket of pair) {
    if (kind === "rst") {
      socket.resetAndDestroy();
    } else {
      // Our FIN goes out now. What still comes in is dropped, until the peer's FIN.
      socket.removeAllListeners("data").removeAllListeners("end");
      socket.on("data", () => {}).on("end", () => socket.destroy());
      socket.end();
    }
  }
}

/** One direction of the link: takes bytes from one socket and delivers them to another, as its weather says. */
class Lane implements Weather {
  swallowing = false;
  delayMs = 0;
  bytesPerSecond = Number.POSITIVE_INFINITY;
  delivered = 0;
  #stalled = false;
  #untilCut = Number.POSITIVE_INFINITY;
  #cut: (pair: Pair) => void = () => {};
  readonly #closing: AbortSignal;
  readonly #wake = new Set<() => void>();

  constructor(closing: AbortSignal) {
    this.#closing = closing;
    closing.addEventListener("abort", () => this.#wakeAll(), { once: true });
  }

  get stalled(): boolean {
    return this.#stalled;
  }

  set stalled(stalled: boolean) {
    this.#stalled = stalled;
    this.#wakeAll();
  }

  cutAfter(bytes: number, cut: (pair: Pair) => void): void {
    this.#untilCut = bytes;
    this.#cut = cut;
  }

  carry(from: Socket, to: Socket, pair: Pair): void {
    const parcels: { due: number; bytes?: Buffer }[] = [];
    let waiting = 0;
    from.on("data", (bytes: Buffer) => {
      parcels.push({ due: performance.now() + this.delayMs, bytes });
      waiting += bytes.length;
      // A delayed byte is on its way, not in a queue: it must not hold back the ones behind it.
      if (waiting > (this.delayMs > 0 ? 16 << 20 : 64 << 10)) {
        from.pause();
      }
      this.#wakeAll();
    });
    from.on("end", () => {
      parcels.push({ due: performance.now() + this.delayMs });
      this.#wakeAll();
    });
    from.on("error", () => to.resetAndDestroy());
    from.on("close", () => this.#wakeAll());

    const deliver = async () => {
      while (to.writable && !this.#closing.aborted) {
        const parcel = parcels[0];
        if (parcel === undefined || this.#stalled) {
          await this.#change(to);
        } else if (parcel.due > performance.now()) {
          const ms = Math.ceil(parcel.due - performance.now());
          await pause(ms, undefined, { signal: this.#closing });
        } else if (parcel.bytes === undefined) {
          to.end();
          return;
        } else {
          parcels.shift();
          const rest = await this.#write(parcel.bytes, to, pair);
          if (rest.length > 0) {
            parcels.unshift({ due: 0, bytes: rest });
          }
          waiting -= parcel.bytes.length - rest.length;
          if (waiting === 0 && from.isPaused()) {
            from.resume();
          }
        }
      }
    };
    deliver().catch(() => {
      // The link is being closed.
    });
  }

  /** Writes as much as may go at once; gives back the rest. */
  async #write(bytes: Buffer, to: Socket, pair: Pair): Promise<Buffer> {
    if (this.swallowing) {
      return bytes.subarray(bytes.length);
    }
    const share = Math.max(1, Math.ceil(this.bytesPerSecond / 100));
    const now = bytes.subarray(0, Math.min(bytes.length, share, this.#untilCut));
    if (now.length > 0) {
      await new Promise<void>((resolve) => to.write(now, () => resolve()));
      this.delivered += now.length;
      this.#untilCut -= now.length;
    }
    if (this.#untilCut === 0) {
      this.#untilCut = Number.POSITIVE_INFINITY;
      this.#cut(pair);
    } else if (Number.isFinite(this.bytesPerSecond)) {
      const ms = (now.length / this.bytesPerSecond) * 1000;
      await pause(ms, undefined, { signal: this.#closing });
    }
    return bytes.subarray(now.length);
  }

  /** Resolves at the next parcel, change of weather, or end. */
  #change(to: Socket): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.#wake.delete(wake);
        to.off("close", wake);
        resolve();
      };
      this.#wake.add(wake);
      to.once("close", wake);
    });
  }

  #wakeAll(): void {
    for (const wake of [...this.#wake]) {
      wake();
    }
  }
}
