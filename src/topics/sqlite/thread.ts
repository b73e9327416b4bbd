import { Code, type ConnectError } from "@connectrpc/connect";
// biome-ignore lint/style/useNodejsImportProtocol: webpack 5 breaks `new Worker` where it comes from node:worker_threads
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from "worker_threads";
import { failure } from "../../failure.ts";
import { logFailure } from "../log-failure.ts";
import type {
  AnswerMessage,
  AppendedMessage,
  Failure,
  FromThread,
  ReaderCall,
  ThreadData,
  ToThread,
  WorkerInput,
  WriterCall,
} from "./message.ts";

/**
 * The log's view of one of its threads. The thread keeps the process alive only while calls or
 * appends wait for it.
 */
export class Thread<Call extends WriterCall | ReaderCall> {
  readonly #path: string;
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #calls = new Map<number, PromiseWithResolvers<unknown>>();
  readonly #onMessage: (message: AppendedMessage) => void;
  readonly #onFailed: (error: ConnectError) => void;
  #id = 0;
  #holds = 0;
  #ended: { error: ConnectError } | undefined;

  /**
   * @param onMessage called with each message that is not an answer to a call
   * @param onFailed called once, with the reason, when the thread can no longer be used
   *
   * Throws FAILED_PRECONDITION if the code is in a bundle that does not tell where the worker's
   * file is.
   */
  constructor(
    data: ThreadData,
    onMessage: (message: AppendedMessage) => void,
    onFailed: (error: ConnectError) => void,
  ) {
    this.#path = data.path;
    this.#onMessage = onMessage;
    this.#onFailed = onFailed;
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    this.#worker = startWorker({ ...data, port: port2 });
    this.#worker.unref();
    port1.on("message", (message: FromThread) => this.#receive(message));
    // The listener has referenced it; hold() references the worker.
    port1.unref();
    this.#worker.on("error", (error) => this.#onEnd(error));
    this.#worker.on("exit", () => this.#onEnd(undefined));
  }

  /** Sends a call to the thread. Resolves or rejects with the thread's answer. */
  call<T>(call: Call): Promise<T> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended.error);
    const answer = Promise.withResolvers<unknown>();
    this.#calls.set(++this.#id, answer);
    this.hold(1);
    this.post({ kind: "call", id: this.#id, call });
    return answer.promise as Promise<T>;
  }

  post(message: ToThread, transfer: ArrayBuffer[] = []): void {
    this.#port.postMessage(message, transfer);
  }

  /** Changes the number of calls and appends that wait for this thread. */
  hold(count: number): void {
    const before = this.#holds;
    this.#holds += count;
    if (before === 0 && this.#holds > 0) this.#worker.ref();
    else if (before > 0 && this.#holds === 0) this.#worker.unref();
  }

  /** Lets the thread close its connection, then ends it. */
  async close(): Promise<void> {
    try {
      if (this.#ended === undefined) await this.call({ do: "close" } as Call);
    } finally {
      this.#ended ??= { error: failure(Code.Unavailable, "the log is closed") };
      await this.#worker.terminate();
      this.#port.close();
    }
  }

  /** Receives what the thread sent before its end, which may be the reason for it. */
  #onEnd(cause: unknown): void {
    for (
      let last = receiveMessageOnPort(this.#port);
      last !== undefined;
      last = receiveMessageOnPort(this.#port)
    ) {
      this.#receive(last.message as FromThread);
    }
    this.#fail(this.#unexpected(cause));
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

  #fail(error: ConnectError): void {
    if (this.#ended !== undefined) return;
    this.#ended = { error };
    for (const call of this.#calls.values()) call.reject(error);
    this.#calls.clear();
    this.#onFailed(error);
  }

  #unexpected(cause: unknown): ConnectError {
    if (isWorkerMissing(cause)) return workerMissing(cause);
    const why = cause instanceof Error ? ` (${cause.message})` : "";
    const remedy = "close the log, and open it again";
    const forOperator = `the thread of the log in ${this.#path} has ended${why}: ${remedy}`;
    return logFailure(
      Code.Unavailable,
      { forClients: "the server's log has ended", forOperator },
      cause,
    );
  }
}

/** Bundlers look for exactly this expression, `new Worker(new URL(…, import.meta.url))`, and build that file too. */
function startWorker(workerData: WorkerInput): Worker {
  try {
    // execArgv: the worker does not inherit this process's options, such as `--input-type` or `--test`.
    return new Worker(new URL("./sqlite-worker.js", import.meta.url), {
      workerData,
      transferList: [workerData.port],
      execArgv: [],
      name: "hawser-log",
    });
  } catch (error) {
    // A CommonJS bundle has no import.meta.url.
    if ((error as NodeJS.ErrnoException).code !== "ERR_INVALID_URL") throw error;
    throw workerMissing(error);
  }
}

/** True if the worker's own file was not found; false if one of its imports was not. */
function isWorkerMissing(error: unknown): boolean {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: string };
  return (
    /^(ERR_)?MODULE_NOT_FOUND$/.test(`${code}`) && /'[^']*sqlite-worker\.js'$/m.test(`${message}`)
  );
}

function workerMissing(cause: unknown): ConnectError {
  const why = cause instanceof Error ? ` (${cause.message.split("\n", 1)})` : "";
  return failure(
    Code.FailedPrecondition,
    `the log's worker, sqlite-worker.js, is not beside the file that starts it${why}: in a bundle, ` +
      "mark hawser as external, or build node_modules/hawser/dist/topics/sqlite/sqlite-worker.js as a second entry into the same folder",
    cause,
  );
}

/** Converts a failure of a thread to an error of the log. */
export function toError({ code, message, detail }: Failure): ConnectError {
  return detail === undefined
    ? failure(code, message)
    : logFailure(code, { forClients: message, forOperator: detail });
}
