/** Starts and ends the programs of a run: the servers, Chromium with its page, and the client over TCP. */
import { join } from "node:path";
import { Child } from "../child.ts";
import { Browser } from "./browser.ts";
import type { Loaded, LoadJob, Peer, Unread, Workload } from "./job.ts";
import { type LossyLink, openLossyLink } from "./link.ts";

const program = (file: string) => join(import.meta.dirname, file);

/** A row of the tables. */
export interface Row {
  readonly workload: Workload;
  /** Bytes of content. */
  readonly size: number;
}

export type Timing = Pick<LoadJob, "warmMs" | "measureMs">;

/** The CPU of a load, in ms. The renderer is the page's process; over TCP it is the client's. */
export interface WebCpu {
  readonly server: number;
  readonly renderer: number;
  /** All processes of Chromium; NaN over TCP. */
  readonly chromium: number;
}

export interface WebMeasured extends Loaded {
  readonly cpuMs: WebCpu;
}

/** How a chat has survived the loss of its connection. */
export interface Loss {
  /** From the loss until the chat was open again. */
  readonly openAfterMs: number;
  readonly sent: number;
  readonly lost: number;
  readonly wrong: number;
}

/** That of a chat whose connection is lost. */
export const KEEPALIVE = { intervalMs: 1000, timeoutMs: 1000 };

/** A push of messages of this size is not read for this time. */
export const UNREAD = { size: 1024, ms: 3000 };

/** The programs of a stage. */
interface Programs {
  readonly browser: Browser;
  readonly hawser: Child;
  readonly ws: Child;
  readonly socketIo: Child;
  readonly tcpClient: Child;
  /** In front of Hawser's server. */
  readonly link: LossyLink;
}

export class Stage implements AsyncDisposable {
  readonly browser: Browser;
  readonly #programs: Programs;
  readonly #resources: AsyncDisposableStack;

  private constructor(programs: Programs, resources: AsyncDisposableStack) {
    this.browser = programs.browser;
    this.#programs = programs;
    this.#resources = resources;
  }

  /**
   * @param nodeFlags options of Node for Hawser's server, and for the one by hand
   * @param browserFlags options of Chromium
   */
  static async start(
    nodeFlags: readonly string[] = [],
    browserFlags: readonly string[] = [],
  ): Promise<Stage> {
    await using resources = new AsyncDisposableStack();
    const start = async (name: string, args: readonly string[], flags?: readonly string[]) => {
      const [file = "", ...more] = args;
      return resources.use(await Child.start(name, [program(file), ...more], flags));
    };
    const browser = resources.use(await Browser.prepare());
    const hawser = await start("hawser", ["servers/hawser.ts", browser.origin], nodeFlags);
    const ws = await start("ws", ["servers/ws.ts"], nodeFlags);
    const socketIo = await start("socket.io", ["servers/socket-io.ts"]);
    const tcpClient = await start("hawser tcp", ["load/node.ts"]);
    const [host = "", port] = hawser.address.split(":");
    const link = resources.use(await openLossyLink({ host, port: Number(port) }));
    await browser.open(browserFlags);
    return new Stage({ browser, hawser, ws, socketIo, tcpClient, link }, resources.move());
  }

  /** Measures a row once, with one peer. */
  async load(peer: Peer, row: Row, timing: Timing): Promise<WebMeasured> {
    const server = this.#serverOf(peer);
    const url = `http://${server.address}`;
    const job: LoadJob = { kind: "load", peer, url, ...row, ...timing };
    const readings: WebCpu[] = [];
    const read = (client: () => Omit<WebCpu, "server">) => {
      readings.push({ server: server.cpuMs(), ...client() });
    };
    const loaded =
      peer === "hawser tcp"
        ? await this.#loadOverTcp(job, read)
        : await this.browser.run(job, () => {
            read(() => {
              const { rendererMs, chromiumMs } = this.browser.cpu();
              return { renderer: rendererMs, chromium: chromiumMs };
            });
          });
    const [before, after] = readings as [WebCpu, WebCpu];
    const cpuMs = {
      server: after.server - before.server,
      renderer: after.renderer - before.renderer,
      chromium: after.chromium - before.chromium,
    };
    return { ...loaded, cpuMs };
  }

  /** Loses the connection of a chat. */
  async lose(how: "cut" | "silence"): Promise<Loss> {
    let lostAt = 0;
    const job = { kind: "loss", url: this.#programs.link.url, keepalive: KEEPALIVE } as const;
    const { openAt, sent, received, wrong } = await this.browser.run(job, () => {
      lostAt = performance.timeOrigin + performance.now();
      this.#programs.link[how]();
    });
    this.#programs.link.cut();
    return { openAfterMs: openAt - lostAt, sent, lost: sent - received, wrong };
  }

  leaveUnread(): Promise<Unread> {
    const url = `http://${this.#programs.hawser.address}`;
    return this.browser.run({ kind: "unread", url, ...UNREAD }, () => {});
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#resources.disposeAsync();
  }

  #serverOf(peer: Peer): Child {
    switch (peer) {
      case "hawser":
      case "hawser sessions":
      case "hawser tcp":
        return this.#programs.hawser;
      case "socket.io":
        return this.#programs.socketIo;
      default:
        return this.#programs.ws;
    }
  }

  async #loadOverTcp(
    job: LoadJob,
    read: (client: () => Omit<WebCpu, "server">) => void,
  ): Promise<Loaded> {
    const client = this.#programs.tcpClient;
    const { messages, ms } = await client.measure(job, {
      cpuMs() {
        read(() => ({ renderer: client.cpuMs(), chromium: Number.NaN }));
        return 0;
      },
    });
    return { messages, ms, longestTaskMs: Number.NaN };
  }
}
