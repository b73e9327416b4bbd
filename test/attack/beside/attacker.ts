import { setImmediate, setTimeout } from "node:timers/promises";
import { type SessionPeer, sessionPeer } from "../../support/session-peer.ts";
import {
  Flag,
  frame,
  Http2Code,
  type PeerOptions,
  PREFACE,
  settings,
  Type,
  windowUpdate,
} from "../../support/wire.ts";
import { RawClient } from "../raw.ts";

/** What an attack has done, and how the server ended its connections. */
export interface Report {
  readonly connections: number;
  /** How many of them the server has closed. */
  readonly cutOff: number;
  /** How long those were open, in milliseconds: the median, and the longest. */
  readonly cutAfterMs: number;
  readonly longestMs: number;
  /** How many of them ended with ENHANCE_YOUR_CALM. */
  readonly calmed: number;
  readonly sentBytes: number;
  /** What the attack itself counts, by its own words. */
  readonly counts: Readonly<Record<string, number>>;
}

export interface AttackerOptions {
  readonly port: number;
  /** The loopback addresses from which the connections come, in turn. */
  readonly addresses: readonly string[];
  readonly lastsMs: number;
}

interface Connected {
  readonly client: RawClient;
  readonly openedAt: number;
  closedAt: number | undefined;
}

const WIDEST = 2 ** 31 - 1;

const ACK = frame(Type.SETTINGS, Flag.ACK, 0);

/** The greeting of a client that never makes the server wait for windows. */
export const WIDE = [
  PREFACE,
  settings({ 4: WIDEST }),
  windowUpdate(0, WIDEST - 65_535),
  ACK,
] as const;

/** The hostile side of an attack: its connections, and its time. */
export class Attacker implements AsyncDisposable {
  readonly port: number;
  readonly #addresses: readonly string[];
  readonly #until: number;
  readonly #connections: Connected[] = [];
  readonly #sessionPeers: SessionPeer[] = [];
  readonly #counts = new Map<string, number>();
  #addressesGiven = 0;
  #connected = 0;
  /** What connections have sent that were left. */
  #leftBytes = 0;
  #isDisposed = false;

  constructor({ port, addresses, lastsMs }: AttackerOptions) {
    this.port = port;
    this.#addresses = addresses;
    this.#until = performance.now() + lastsMs;
  }

  /** Whether the time of the attack is over. */
  get isOver(): boolean {
    return this.#isDisposed || performance.now() >= this.#until;
  }

  /** Counts what the attack has done. */
  count(what: string, more = 1): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + more);
  }

  /** Connects from the next address. Resolves with `undefined` if the server takes no connection. */
  async connect(greeting?: readonly Uint8Array[]): Promise<RawClient | undefined> {
    return await this.#track(RawClient.connect(this.port, greeting, this.#nextAddress()));
  }

  /** Connects from the next address, and asks for a WebSocket. */
  async openWebSocket(greeting?: readonly Uint8Array[]): Promise<RawClient | undefined> {
    return await this.#track(RawClient.openWebSocket(this.port, greeting, this.#nextAddress()));
  }

  async #track(connecting: Promise<RawClient>): Promise<RawClient | undefined> {
    const openedAt = performance.now();
    const client = await connecting.catch(() => {
      this.count("connections that failed");
    });
    if (client === undefined) return undefined;
    this.#connected++;
    const connected: Connected = { client, openedAt, closedAt: undefined };
    this.#connections.push(connected);
    client.onClosed = () => {
      connected.closedAt ??= performance.now();
    };
    return client;
  }

  /** Connects that many times. */
  async connectAll(count: number, greeting?: readonly Uint8Array[]): Promise<RawClient[]> {
    const all = await Promise.all(Array.from({ length: count }, () => this.connect(greeting)));
    return all.filter((client) => client !== undefined);
  }

  /** Closes a connection: the server has not cut it off. */
  async leave(client: RawClient): Promise<void> {
    const at = this.#connections.findIndex((one) => one.client === client);
    this.#connections.splice(at, 1);
    this.#leftBytes += client.sentBytes;
    await client[Symbol.asyncDispose]();
  }

  /** Connects as a client of sessions. */
  async sessionPeer(): Promise<SessionPeer> {
    const localAddress = this.#nextAddress();
    const options: PeerOptions = localAddress === undefined ? {} : { localAddress };
    const peer = await sessionPeer(this.port, options);
    this.#sessionPeers.push(peer);
    return peer;
  }

  /** Runs `work` again and again in that many workers, until it returns `false`, or the time is over. */
  async inParallel(workers: number, work: () => Promise<boolean>): Promise<void> {
    const one = async () => {
      while (!this.isOver && (await work())) await setImmediate();
    };
    await Promise.all(Array.from({ length: workers }, one));
  }

  /** Works until the time is over, at most `most` times in all. */
  async atMost(most: number, atOnce: number, work: () => Promise<unknown>): Promise<void> {
    let begun = 0;
    await this.inParallel(atOnce, async () => {
      if (begun++ >= most) return false;
      await work();
      return true;
    });
  }

  /** Waits until the time is over, or until the server has closed the connection. */
  async untilClosed(client: RawClient): Promise<void> {
    while (!this.isOver && !client.isClosed) await setTimeout(20);
  }

  async untilOver(): Promise<void> {
    while (!this.isOver) await setTimeout(20);
  }

  report(): Report {
    const cut = this.#connections.filter(({ closedAt }) => closedAt !== undefined);
    const lived = cut
      .map(({ openedAt, closedAt }) => (closedAt as number) - openedAt)
      .toSorted((a, b) => a - b);
    return {
      connections: this.#connected,
      cutOff: cut.length,
      cutAfterMs: lived[lived.length >> 1] ?? 0,
      longestMs: lived.at(-1) ?? 0,
      calmed: cut.filter(({ client }) => client.goaway === Http2Code.ENHANCE_YOUR_CALM).length,
      sentBytes: this.#connections.reduce(
        (sum, { client }) => sum + client.sentBytes,
        this.#leftBytes,
      ),
      counts: Object.fromEntries(this.#counts),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDisposed = true;
    const all = [...this.#connections.map(({ client }) => client), ...this.#sessionPeers];
    await Promise.all(all.map((one) => one[Symbol.asyncDispose]()));
  }

  #nextAddress(): string | undefined {
    return this.#addresses[this.#addressesGiven++ % this.#addresses.length];
  }
}
