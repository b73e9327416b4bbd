/** All scenarios of one client and one server. */
import { join } from "node:path";
import { openLink, type TcpLink } from "../../src/testing/link.ts";
import { certFile, certs } from "../support/tls.ts";
import { type ClientInput, FAILED, type Request, type ServerUrls } from "./programs/messages.ts";
import { type Program, start } from "./programs.ts";
import type { Runtime } from "./runtimes.ts";

export interface Pair {
  readonly client: Runtime;
  readonly server: Runtime;
}

/** What came of one scenario. */
export interface Result {
  readonly scenario: string;
  readonly tookMs: number;
  /** Why it failed. */
  readonly failed?: string;
}

type ClientLine = Result | { ask: Request } | { uncaught: string } | { done: true };

/** The names of the scenarios that the run itself has. */
export const CLIENT_ENDS = "the client's process ends when its transports are closed";
export const SERVER_ENDS = "the server's process ends when its servers are closed";

/** Runs all scenarios; calls `onResult` after each. */
export async function runPair(
  { client, server }: Pair,
  { project, name, filter }: { project: string; name: string; filter: string },
  onResult: (result: Result) => void,
): Promise<void> {
  const socket = join(project, `${name}.sock`);
  const pems = ["server.pem", "server.key", "ca.pem"].map(certFile);
  await using serving = start(server, project, ["server", socket, ...pems]);
  const urls = (await serving.line()) as ServerUrls | undefined;
  if (urls === undefined) throw new Error(`the server on ${server.name} did not start`);
  await using link = await openLink({ host: "127.0.0.1", port: Number(new URL(urls.http).port) });
  await using rooms = new Rooms(server, project, join(project, `${name}.sqlite`));
  const input: ClientInput = {
    ...urls,
    link: link.url,
    ca: certs.ca,
    ...certs.client,
    client: client.name,
    server: server.name,
    filter,
  };
  await using calling = start(client, project, ["client", JSON.stringify(input)]);
  for (;;) {
    const line = (await calling.line()) as ClientLine | undefined;
    if (line === undefined) throw new Error(`the client on ${client.name} ended early`);
    if ("done" in line) break;
    if ("ask" in line) calling.say(await answer(line.ask, link, rooms).catch(failedAnswer));
    else if ("uncaught" in line) onResult(failure("nothing is left uncaught", line.uncaught));
    else onResult(line);
  }
  await checkEnd(CLIENT_ENDS, calling, onResult);
  await checkEnd(SERVER_ENDS, serving, onResult);
}

function failure(scenario: string, failed: string): Result {
  return { scenario, tookMs: 0, failed };
}

async function checkEnd(
  scenario: string,
  program: Program,
  onResult: (result: Result) => void,
): Promise<void> {
  const startedAt = performance.now();
  const failed = await program.end().then(
    () => undefined,
    (error: Error) => error.message,
  );
  const tookMs = Math.round(performance.now() - startedAt);
  onResult({ scenario, tookMs, ...(failed !== undefined && { failed }) });
}

/** Does what the client asks for, and returns the line for it. */
async function answer(request: Request, link: TcpLink, rooms: Rooms): Promise<string> {
  if (request === "rst" || request === "fin") return `${await link.cut(request)}`;
  if (request === "rooms") return await rooms.open();
  if (request === "restart rooms") await rooms.restart();
  else if (request === "resume") link.resume();
  else link.stall();
  return request;
}

function failedAnswer(error: Error): string {
  return `${FAILED}${error.message}`;
}

/** The program of rooms, which its clients reach through a link, at the same address after a restart. */
class Rooms implements AsyncDisposable {
  readonly #runtime: Runtime;
  readonly #project: string;
  readonly #file: string;
  #program: Program | undefined;
  #link: TcpLink | undefined;

  constructor(runtime: Runtime, project: string, file: string) {
    this.#runtime = runtime;
    this.#project = project;
    this.#file = file;
  }

  async open(): Promise<string> {
    const port = await this.#start();
    this.#link = await openLink({ host: "127.0.0.1", port });
    return this.#link.url;
  }

  async restart(): Promise<void> {
    await this.#program?.kill();
    const port = await this.#start();
    if (this.#link !== undefined) this.#link.target = { host: "127.0.0.1", port };
  }

  async #start(): Promise<number> {
    this.#program = start(this.#runtime, this.#project, ["rooms", this.#file]);
    const urls = (await this.#program.line()) as { http: string } | undefined;
    if (urls === undefined) throw new Error(`the rooms on ${this.#runtime.name} did not start`);
    return Number(new URL(urls.http).port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#link?.[Symbol.asyncDispose]();
    await this.#program?.kill();
  }
}
