/**
 * Chromium with one page, which nothing drives: a driver that watches the network gets each frame of a WebSocket, and makes
 * it two to four times as expensive. The page fetches its jobs, and posts what it has measured.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { executablePath } from "../../test/browser/executable-path.ts";
import { cpuMsOf } from "../child.ts";
import type { PageEvent, ResultOf, WebJob } from "./job.ts";

/** The time in which a page must tell the next thing of a job. */
const LATEST_MS = 60_000;

const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"];

export interface BrowserCpu {
  /** Of the process in which the page runs. */
  readonly rendererMs: number;
  /** Of all processes of Chromium. */
  readonly chromiumMs: number;
}

export class Browser implements AsyncDisposable {
  readonly script: string;
  /** Of the browser's profile. */
  readonly folder = mkdtempSync(join(tmpdir(), "hawser-browser-"));
  readonly #http = createServer((request, response) => this.#answer(request, response));
  #process: ChildProcess | undefined;
  /** The response to the page, which waits for its next job. */
  #waiting = Promise.withResolvers<ServerResponse>();
  #onEvent: (event: PageEvent) => void = () => {};
  readonly #exit = Promise.withResolvers<never>();
  readonly #onExit = () => this.#clear();

  private constructor(script: string) {
    this.script = script;
    this.#exit.promise.catch(() => {});
  }

  /** Makes the page's script, and listens: the page has an origin, and no browser yet. */
  static async prepare(): Promise<Browser> {
    const { outputFiles } = await build({
      entryPoints: [join(import.meta.dirname, "load/page.ts")],
      ...{ bundle: true, write: false, format: "esm", platform: "browser", target: "es2022" },
      conditions: ["hawser-source"],
    });
    const browser = new Browser(outputFiles[0]?.text ?? "");
    await new Promise<void>((resolve) => browser.#http.listen(0, "127.0.0.1", resolve));
    return browser;
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
  }

  /** @param flags more options of Chromium */
  async open(flags: readonly string[] = []): Promise<void> {
    const args = [...FLAGS, ...flags, `--user-data-dir=${this.folder}`, this.origin];
    const child = spawn(executablePath, args, { stdio: "ignore" });
    this.#process = child;
    process.once("exit", this.#onExit);
    child.once("error", this.#exit.reject);
    child.once("exit", (code) => this.#exit.reject(new Error(`Chromium ended with ${code}`)));
    await this.#soon(this.#waiting.promise);
  }

  /** Runs a job in the page. Calls `onEvent` for what the page tells before the job is done. */
  async run<Job extends WebJob>(
    job: Job,
    onEvent: (event: "start" | "end" | "ready") => void,
  ): Promise<ResultOf<Job>> {
    const page = await this.#soon(this.#waiting.promise);
    this.#waiting = Promise.withResolvers();
    const { promise, resolve, reject } = Promise.withResolvers<ResultOf<Job>>();
    this.#onEvent = (told) => {
      if (told.event === "failed") reject(new Error(`${JSON.stringify(job)}: ${told.error}`));
      // The page answers the job that it was given.
      else if (told.event === "done") resolve(told.result as ResultOf<Job>);
      else onEvent(told.event);
    };
    page.end(JSON.stringify(job));
    return await this.#soon(promise);
  }

  cpu(): BrowserCpu {
    return cpuOf(processes(), this.#process?.pid ?? Number.NaN);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#http.close();
    this.#http.closeAllConnections();
    if (this.#process !== undefined && this.#process.exitCode === null) {
      const exited = new Promise((resolve) => this.#process?.once("exit", resolve));
      this.#process.kill();
      await exited;
    }
    process.off("exit", this.#onExit);
    this.#clear();
  }

  #clear(): void {
    this.#process?.kill("SIGKILL");
    // Some of its processes may still write for a moment.
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  async #soon<T>(promise: Promise<T>): Promise<T> {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(new Error("the page does not answer")), LATEST_MS);
    try {
      return await Promise.race([promise, late, this.#exit.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    switch (request.url) {
      case "/":
        response.setHeader("content-type", "text/html");
        response.end(
          '<!doctype html><title>bench</title><script type="module" src="/page.js"></script>',
        );
        break;
      case "/page.js":
        response.setHeader("content-type", "text/javascript").end(this.script);
        break;
      case "/job":
        this.#waiting.resolve(response);
        break;
      case "/event": {
        let body = "";
        request.setEncoding("utf8").on("data", (text) => {
          body += text;
        });
        request.on("end", () => {
          response.end();
          this.#onEvent(JSON.parse(body));
        });
        break;
      }
      default:
        response.writeHead(404).end();
    }
  }
}

/** Returns the version, as "Chromium 156.0.8078.108". */
export function versionOfBrowser(): string {
  const { stdout } = spawnSync(executablePath, ["--version"], { encoding: "utf8" });
  return /Chrom\S+ [\d.]+/.exec(stdout)?.[0] ?? "Chromium";
}

/** A process, as /proc tells. */
export interface ProcessEntry {
  readonly pid: number;
  readonly parent: number;
  readonly command: string;
  readonly cpuMs: number;
}

/** Adds up the CPU of a browser and of all processes that it has started, and of the renderers among them. */
export function cpuOf(all: readonly ProcessEntry[], root: number): BrowserCpu {
  const isOfBrowser = new Set([root]);
  // A process is started after its parent; but process numbers may begin again.
  for (let size = 0; size < isOfBrowser.size; ) {
    size = isOfBrowser.size;
    for (const { pid, parent } of all) if (isOfBrowser.has(parent)) isOfBrowser.add(pid);
  }
  let [rendererMs, chromiumMs] = [0, 0];
  for (const { pid, command, cpuMs } of all) {
    if (!isOfBrowser.has(pid)) continue;
    chromiumMs += cpuMs;
    if (command.includes("--type=renderer")) rendererMs += cpuMs;
  }
  return { rendererMs, chromiumMs };
}

function processes(): ProcessEntry[] {
  return readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "utf8");
      const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
      const command = readFileSync(`/proc/${name}/cmdline`, "utf8");
      return [{ pid: Number(name), parent, command, cpuMs: cpuMsOf(Number(name)) }];
    } catch {
      // It has ended meanwhile.
      return [];
    }
  });
}
