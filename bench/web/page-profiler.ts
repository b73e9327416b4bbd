/**
 * Profiles the page: by the Profiler of Chromium's debugging protocol alone, which leaves the network unwatched. The script is
 * one bundle; the files in it are found by the comments that the bundler has put before each.
 */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { CpuProfile } from "../profile-parts.ts";

/** Between two samples, in µs. */
const INTERVAL_US = 200;

/** The browser chooses a port, and writes it into a file of its folder. */
export const DEBUGGING_FLAGS = ["--remote-debugging-port=0"];
const PORT_FILE = "DevToolsActivePort";

/** A node of a profile, as the browser tells it. */
interface PageNode {
  readonly id: number;
  readonly callFrame: {
    readonly functionName: string;
    readonly url: string;
    readonly lineNumber: number;
  };
  readonly children?: readonly number[];
}

export type PageProfile = Omit<CpuProfile, "nodes"> & { readonly nodes: readonly PageNode[] };

export class PageProfiler implements Disposable {
  readonly #socket: WebSocket;
  readonly #script: string;
  readonly #answers = new Map<number, (result: { profile: PageProfile }) => void>();
  #sent = 0;

  private constructor(socket: WebSocket, script: string) {
    this.#socket = socket;
    this.#script = script;
    socket.onmessage = ({ data }) => {
      const { id, result } = JSON.parse(data);
      this.#answers.get(id)?.(result);
      this.#answers.delete(id);
    };
  }

  /** @param folder that of the browser's profile, which was opened with DEBUGGING_FLAGS */
  static async attach({ folder, script }: { folder: string; script: string }) {
    const port = readFileSync(join(folder, PORT_FILE), "utf8").split("\n", 1)[0];
    const pages: { type: string; webSocketDebuggerUrl: string }[] = await (
      await fetch(`http://127.0.0.1:${port}/json`)
    ).json();
    const page = pages.find(({ type }) => type === "page");
    if (page === undefined) throw new Error("the browser has no page");
    const socket = new WebSocket(page.webSocketDebuggerUrl);
    await once(socket, "open");
    const profiler = new PageProfiler(socket, script);
    await profiler.#call("Profiler.enable");
    await profiler.#call("Profiler.setSamplingInterval", { interval: INTERVAL_US });
    return profiler;
  }

  /** Profiles the page for some time. */
  async profile(ms: number): Promise<CpuProfile> {
    await this.#call("Profiler.start");
    await sleep(ms);
    const { profile } = await this.#call("Profiler.stop");
    return withFiles(profile, this.#script);
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }

  #call(method: string, params: object = {}): Promise<{ profile: PageProfile }> {
    const id = ++this.#sent;
    const { promise, resolve } = Promise.withResolvers<{ profile: PageProfile }>();
    this.#answers.set(id, resolve);
    this.#socket.send(JSON.stringify({ id, method, params }));
    return promise;
  }
}

/** Names the file of each function in a bundle, where the profile names the bundle. */
export function withFiles(profile: PageProfile, script: string): CpuProfile {
  let file = "";
  const fileOfLine = script.split("\n").map((line) => {
    file = /^\/\/ (\S+\.(?:ts|js|mjs))$/.exec(line)?.[1] ?? file;
    return file;
  });
  const nodes = profile.nodes.map(({ id, callFrame, children }) => {
    const { functionName, url, lineNumber } = callFrame;
    const named = url === "" ? "" : `/${fileOfLine[lineNumber] ?? ""}`;
    return { id, callFrame: { functionName, url: named }, children: children ?? [] };
  });
  return { ...profile, nodes };
}
