import { Worker } from "node:worker_threads";
import { Code, type ConnectError } from "@connectrpc/connect";
import { failure } from "../failure.ts";
import type {
  AnswerMessage,
  AppendedMessage,
  Failure,
  FromThread,
  ReaderCall,
  ThreadData,
  ToThread,
  WriterCall,
} from "./sqlite-message.ts";

/** Beside this file there is the worker's: .ts as it is written, .js as it is built. */
const FILE = new URL(
  `./sqlite-worker${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`,
  import.meta.url,
);

/**
 * A thread of a log, as the others see it. It keeps the process alive while
 * somebody waits for it, and no longer.
 */
export class Thread<Call extends WriterCall | ReaderCall> {
  readonly #worker: Worker;
  readonly #calls = new Map<number, PromiseWithResolvers<unknown>>();
  readonly #onMessage: (message: AppendedMessage) => void;
  readonly #onFailed: (error: unknown) => void;
  #id = 0;
  #holds = 0;
  #over: { error: unknown } | undefined;

  /**
   * @param onMessage told what is no answer to a call
   * @param onFailed told why it is of no more use
   */
  constructor(
    data: ThreadData,
    onMessage: (message: AppendedMessage) => void,
    onFailed: (error: unknown) => void,
  ) {
    this.#onMessage = onMessage;
    this.#onFailed = onFailed;
    // Without what this process was started with: `--input-type` or `--test` are not for it.
    this.#worker = new Worker(FILE, { workerData: data, execArgv: [], name: "hawser-log" });
    this.#worker.unref();
    this.#worker.on("message", (message: FromThread) => this.#receive(message));
    this.#worker.on("error", (error) => this.#fail(unexpected(error)));
    this.#worker.on("exit", () => this.#fail(unexpected(undefined)));
  }

  /** Rejects as what was asked for does. */
  call<T>(call: Call): Promise<T> {
    if (this.#over !== undefined) return Promise.reject(this.#over.error);
    const answer = Promise.withResolvers<unknown>();
    this.#calls.set(++this.#id, answer);
    this.hold(1);
    this.post({ kind: "call", id: this.#id, call });
    return answer.promise as Promise<T>;
  }

  post(message: ToThread, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, transfer);
  }

  /** So many more wait for this thread, or so many less. */
  hold(count: number): void {
    const before = this.#holds;
    this.#holds += count;
    if (before === 0 && this.#holds > 0) this.#worker.ref();
    else if (before > 0 && this.#holds === 0) this.#worker.unref();
  }

  /** Lets it close what it has, then ends it. */
  async close(): Promise<void> {
    try {
      if (this.#over === undefined) await this.call({ do: "close" } as Call);
    } finally {
      this.#over ??= { error: failure(Code.Unavailable, "the log is closed") };
      await this.#worker.terminate();
    }
  }

  #receive(message: FromThread): void {
    if (message.kind === "failed") this.#fail(toError(message.failure));
    else if (message.kind === "answer") this.#answer(message);
    else this.#onMessage(message);
  }

  #answer(message: AnswerMessage): void {
    const call = this.#calls.get(message.id);
    this.#calls.delete(message.id);
    this.hold(-1);
    if (message.failure === undefined) call?.resolve(message.value);
    else call?.reject(toError(message.failure));
  }

  #fail(error: unknown): void {
    if (this.#over !== undefined) return;
    this.#over = { error };
    for (const call of this.#calls.values()) call.reject(error);
    this.#calls.clear();
    this.#onFailed(error);
  }
}

export function toError({ code, message }: Failure): ConnectError {
  return failure(code, message);
}

function unexpected(cause: unknown) {
  const why = cause instanceof Error ? ` (${cause.message})` : "";
  const message = `the thread of the log has ended${why}: close the log, and open it again`;
  return failure(Code.Unavailable, message, cause);
}
