import { Code } from "@connectrpc/connect";
import { failure } from "../failure.ts";
import { HawserServer } from "../node/create-server.ts";
import type { ListenOptions, ServerAddress } from "../node/listen-options.ts";
import type { Server } from "../node/server.ts";
import type { ServerOptions } from "../node/server-options.ts";
import type { TcpLink } from "./link.ts";

/** The server of a world: it can crash, and start again, then with the options that it began with. */
export interface WorldServer
  extends Pick<Server, "close" | "health" | "openCalls" | "setTls" | "stats"> {
  /** The URL on which the server itself listens, past the link. It stays the same after a restart. */
  readonly url: string;
  /**
   * Ends the server immediately, like a crash of its process: connections are reset, sessions are forgotten, and no
   * client gets a reason. The signals of its handlers abort, so that a test leaves nothing running. Resolves when the
   * port is free and clients in this process have seen the end, unless the link is stalled or delays it. Does nothing
   * if the server was already closed or killed.
   */
  kill(): Promise<void>;
  /**
   * Starts the server again at the same port, like a new process: it runs `routes` again and knows none of the old
   * sessions. A server that is not closed is killed first. A call during a restart resolves with that restart. Rejects
   * with FAILED_PRECONDITION if another process took the port meanwhile, and may then be called again. Rejects with
   * FAILED_PRECONDITION too when the world is disposed.
   */
  restart(): Promise<void>;
}

/** A server that starts again with the same options. */
export class RestartableServer implements WorldServer {
  readonly #options: ServerOptions;
  readonly #link: TcpLink;
  #server: HawserServer;
  #address: ServerAddress | undefined;
  #restarting: Promise<void> | undefined;
  #refusesRestarts = false;

  constructor(options: ServerOptions, link: TcpLink) {
    this.#options = options;
    this.#link = link;
    this.#server = new HawserServer(options);
  }

  async listen(options: ListenOptions): Promise<ServerAddress> {
    this.#address = await this.#server.listen(options);
    return this.#address;
  }

  get url(): string {
    return this.#address?.url ?? "";
  }

  /** That of the server that runs now: a restart begins anew. */
  get health(): Server["health"] {
    return this.#server.health;
  }

  stats(): ReturnType<Server["stats"]> {
    return this.#server.stats();
  }

  get openCalls(): number {
    return this.#server.openCalls;
  }

  setTls(...[tls]: Parameters<Server["setTls"]>): void {
    this.#server.setTls(tls);
  }

  close(options?: Parameters<Server["close"]>[0]): Promise<void> {
    return this.#server.close(options);
  }

  async kill(): Promise<void> {
    // A server that a restart is starting is killed too, whether the restart succeeds or not.
    if (this.#restarting !== undefined) await this.#restarting.catch(() => {});
    await this.#kill();
  }

  restart(): Promise<void> {
    this.#restarting ??= this.#restart().finally(() => {
      this.#restarting = undefined;
    });
    return this.#restarting;
  }

  /** Makes restart() reject from now on, because its world is being disposed: nothing would close a new server. */
  refuseRestarts(): void {
    this.#refusesRestarts = true;
  }

  async #kill(): Promise<void> {
    await this.#server.kill();
    await this.#link.passServerLoss();
  }

  async #restart(): Promise<void> {
    if (this.#refusesRestarts) {
      const what = "server.restart: the world was disposed: start another with startWorld()";
      throw failure(Code.FailedPrecondition, what);
    }
    await this.#kill();
    this.#server = new HawserServer(this.#options);
    const { host, port, path } = this.#address ?? {};
    await this.#server.listen(path === undefined ? { host, port } : { path });
  }
}
