import { once } from "node:events";
import { connect, createServer, type Socket, type SocketConnectOpts } from "node:net";
import { setImmediate } from "node:timers/promises";
import { Code, type ConnectError } from "@connectrpc/connect";
import { failure, handled } from "../failure.ts";
import { listen } from "../node/listen.ts";
import { resetSocket } from "../node/reset-socket.ts";
import { either, notNegative, oneOf, wholeOrInfinite } from "../options.ts";
import { LinkDirection } from "./link-direction.ts";

/** `"up"` is from the client to the server, `"down"` from the server to the client. */
export type Direction = "up" | "down";

/** How a connection ends: `"rst"` like after a crash of a process or machine, `"fin"` gracefully. */
export type CutKind = "rst" | "fin";

/**
 * The network between the transport of a world and its server: a TCP proxy on a loopback address. It passes on all
 * bytes until a function of it changes that. A change holds for the open connections and for new ones. Every function
 * throws INVALID_ARGUMENT if an argument is not valid.
 */
export interface Link {
  /** The URL on which the link listens. */
  readonly url: string;
  /** How many connections were accepted so far, refused ones included. */
  readonly accepted: number;
  /** How many connections there are now. */
  readonly open: number;
  /**
   * Ends every connection now, at both ends; clients may connect again immediately. What is not delivered yet is lost.
   * Resolves with the number of connections that were open (0 before the first call) when both ends in this process
   * have seen the end. A call that begins before that may be lost with its connection.
   *
   * @param kind default: `"rst"`
   */
  cut(kind?: CutKind): Promise<number>;
  /**
   * Delivers this many more bytes in one direction, counted over all connections, then cuts the connection that the
   * final byte was for. So a test ends a connection in the middle of a message. Resolves when both ends in this process
   * have seen the end.
   *
   * Rejects with CANCELED if there is no such cut: a later call for the same direction replaced it, or the world was
   * disposed first. If nobody awaits the promise, its rejection is not reported as unhandled. Throws
   * FAILED_PRECONDITION when the world is disposed.
   *
   * @param bytes a whole number; Infinity only replaces an earlier call
   * @param kind default: `"rst"`
   */
  cutAfter(direction: Direction, bytes: number, kind?: CutKind): Promise<void>;
  /**
   * Delivers nothing, neither bytes nor the end of a connection: neither side sees that the other has closed it.
   * Nothing is lost. The stall ends with resume(), or when the returned value is disposed:
   * `using _stall = link.stall()`.
   *
   * @param direction default: both
   */
  stall(direction?: Direction): Disposable;
  /**
   * Ends every stall().
   *
   * @param direction default: both
   */
  resume(direction?: Direction): void;
  /**
   * Resets each new connection as soon as it arrives; open connections stay. This ends with accept(), or when the
   * returned value is disposed.
   */
  refuse(): Disposable;
  /** Ends every refuse(). */
  accept(): void;
  /**
   * Delivers each byte that arrives from now on this much later. A later delay() of the same direction replaces it; 0,
   * or disposing of the returned value, ends it.
   *
   * @param ms in milliseconds, each way
   * @param direction default: both
   */
  delay(ms: number, direction?: Direction): Disposable;
}

const aDirection = oneOf("up", "down");
const aDirectionOrNone = either((value) => value === undefined, aDirection);
const aKind = oneOf("rst", "fin");

export interface LinkOptions {
  /** The loopback address on which the link listens. Default: 127.0.0.1. */
  host?: string;
  /** Whether the connections use TLS. The URL of the link then begins with https. Default: false. */
  tls?: boolean;
}

/** How a connection is cut: after how many bytes, in which direction, and how it ends. */
export interface Cut {
  readonly direction: Direction;
  readonly bytes: number;
  readonly kind: CutKind;
}

/** One connection through the link: a socket to the client, and one to the server. */
type LinkConnection = readonly [client: Socket, server: Socket];

/** A link whose target server can change, and whose two directions can be changed separately. */
export class TcpLink implements Link, AsyncDisposable {
  /** Called after each connection that was accepted and not refused. */
  onAccepted: () => void = () => {};
  readonly up: LinkDirection;
  readonly down: LinkDirection;
  readonly #closing = new AbortController();
  readonly #connections = new Set<LinkConnection>();
  readonly #refusals = new Set<symbol>();
  // A byte takes no longer than the delay: it does not wait for acknowledgements (Nagle).
  readonly #server = createServer({ allowHalfOpen: true, noDelay: true }, (client) =>
    this.#onConnection(client),
  );
  readonly #waiting = new Set<Socket>();
  #target: SocketConnectOpts | undefined;
  #closed: Promise<void> | undefined;
  #accepted = 0;
  #url = "";
  #port = 0;

  constructor(target: SocketConnectOpts | undefined) {
    this.#target = target;
    this.up = new LinkDirection(this.#closing.signal);
    this.down = new LinkDirection(this.#closing.signal);
  }

  /** Listens on a free port. */
  async listen({ host = "127.0.0.1", tls = false }: LinkOptions): Promise<void> {
    const { url, port } = await listen(this.#server, { host, port: 0 });
    this.#url = tls ? url.replace("http", "https") : url;
    this.#port = port as number;
  }

  /** The address to which new connections lead. While it is `undefined`, they wait. */
  get target(): SocketConnectOpts | undefined {
    return this.#target;
  }

  set target(target: SocketConnectOpts | undefined) {
    this.#target = target;
    if (target === undefined) return;
    for (const client of this.#waiting) this.#connect(client, target);
    this.#waiting.clear();
  }

  get url(): string {
    return this.#url;
  }

  get port(): number {
    return this.#port;
  }

  get accepted(): number {
    return this.#accepted;
  }

  get open(): number {
    return this.#connections.size;
  }

  cut(kind: CutKind = "rst"): Promise<number> {
    aKind(kind, { of: "link.cut", option: "kind" });
    const { size } = this.#connections;
    return endSockets([...this.#connections].flat(), kind).then(() => size);
  }

  /** Ends the connections to a server that has ended, unless the link delays or stalls what the server sends. */
  async passServerLoss(): Promise<void> {
    if (!this.down.holdsBack) await this.cut();
  }

  cutAfter(direction: Direction, bytes: number, kind: CutKind = "rst"): Promise<void> {
    aDirection(direction, { of: "link.cutAfter", option: "direction" });
    wholeOrInfinite(bytes, { of: "link.cutAfter", option: "bytes" });
    aKind(kind, { of: "link.cutAfter", option: "kind" });
    if (this.#closing.signal.aborted) {
      const what = "link.cutAfter: the world was disposed: start another with startWorld()";
      throw failure(Code.FailedPrecondition, what);
    }
    const cut = { direction, bytes, kind };
    return handled(new Promise((resolve, reject) => this.armCut(cut, resolve, reject)));
  }

  /**
   * Does the same as cutAfter(). Calls `onCut` at the cut, with a promise that resolves when both ends have seen it, or
   * `onNoCut` with the error if there will be no cut.
   */
  armCut(
    cut: Cut,
    onCut: (seen: Promise<void>) => void,
    onNoCut: (error: ConnectError) => void = () => {},
  ): void {
    this[cut.direction].cutAfter(cut.bytes, {
      onCut: ({ from, to }) => onCut(endSockets([from, to], cut.kind)),
      onNoCut: (reason, passedBytes) => onNoCut(noCut(cut, reason, passedBytes)),
    });
  }

  stall(direction?: Direction): Disposable {
    return allOf(this.#directions("stall", direction).map((one) => one.stall()));
  }

  resume(direction?: Direction): void {
    for (const one of this.#directions("resume", direction)) one.resume();
  }

  refuse(): Disposable {
    const refusal = Symbol();
    this.#refusals.add(refusal);
    return { [Symbol.dispose]: () => void this.#refusals.delete(refusal) };
  }

  accept(): void {
    this.#refusals.clear();
  }

  delay(ms: number, direction?: Direction): Disposable {
    notNegative(ms, { of: "link.delay", option: "ms" });
    return allOf(this.#directions("delay", direction).map((one) => one.delay(ms)));
  }

  /** Ends every connection, and stops listening. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#closing.abort();
    for (const socket of [...this.#waiting, ...[...this.#connections].flat()]) socket.destroy();
    // 'close' is emitted when all connections are closed.
    this.#server.close();
    await once(this.#server, "close");
  }

  #directions(of: string, direction: Direction | undefined): LinkDirection[] {
    aDirectionOrNone(direction, { of: `link.${of}`, option: "direction" });
    return direction === undefined ? [this.up, this.down] : [this[direction]];
  }

  #onConnection(client: Socket): void {
    this.#accepted++;
    client.on("error", () => {});
    if (this.#refusals.size > 0) {
      resetSocket(client);
      return;
    }
    if (this.#target !== undefined) this.#connect(client, this.#target);
    else {
      this.#waiting.add(client);
      client.on("close", () => this.#waiting.delete(client));
    }
    this.onAccepted();
  }

  #connect(client: Socket, target: SocketConnectOpts): void {
    const server = connect({ ...target, allowHalfOpen: true, noDelay: true });
    server.on("error", () => {});
    const connection: LinkConnection = [client, server];
    this.#connections.add(connection);
    for (const socket of connection) {
      socket.on("close", () => {
        if (client.closed && server.closed) this.#connections.delete(connection);
      });
    }
    this.up.forward({ from: client, to: server });
    this.down.forward({ from: server, to: client });
  }
}

/** Opens a link on a free port of a loopback address. */
export async function openLink(
  target: SocketConnectOpts | undefined,
  options: LinkOptions = {},
): Promise<TcpLink> {
  const link = new TcpLink(target);
  await link.listen(options);
  return link;
}

/** Makes the error of a cut that will not happen. */
function noCut(
  { direction, bytes }: Cut,
  reason: "replaced" | "closed",
  passedBytes: number,
): ConnectError {
  const what =
    reason === "replaced"
      ? `a later call for "${direction}" replaced this one after ${passedBytes} of its ${bytes} B: ` +
        "await each cut before the next call"
      : `the world was disposed after ${passedBytes} of the ${bytes} B "${direction}": ` +
        "cut after fewer bytes, or let more pass before the test ends";
  return failure(Code.Canceled, `link.cutAfter: ${what}`);
}

/** Ends connections, and resolves when the other ends in this process have seen it. */
async function endSockets(sockets: readonly Socket[], kind: CutKind): Promise<void> {
  if (kind === "rst") {
    for (const socket of sockets) resetSocket(socket);
  } else await Promise.all(sockets.map(endGracefully));
  // This turn of the event loop may have polled the kernel earlier; the next one polls it again.
  await setImmediate();
  await setImmediate();
}

/** Sends FIN now, drops what still arrives, and resolves when the peer has sent FIN too. */
async function endGracefully(socket: Socket): Promise<void> {
  if (socket.closed) return;
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.removeAllListeners("data").removeAllListeners("end");
  socket.on("data", () => {}).on("end", () => socket.destroy());
  // A direction that holds bytes back has paused it; while it is paused, it does not see the peer's FIN.
  socket.resume();
  socket.end();
  await closed;
}

function allOf(resources: Disposable[]): Disposable {
  return {
    [Symbol.dispose]() {
      for (const resource of resources) resource[Symbol.dispose]();
    },
  };
}
