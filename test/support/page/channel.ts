import { once } from "node:events";
import {
  MessageChannel,
  type MessagePort,
  receiveMessageOnPort,
  Worker,
} from "node:worker_threads";
import { AT_ONCE } from "./at-once.ts";

/** The longest that the thread of the test waits for the page. */
const ANSWER_MS = 10_000;

export interface WorkerData {
  /** The script of the page. */
  readonly script: string;
  /** Gets the answers that the thread of the test waits for. */
  readonly answers: MessagePort;
  /** 1 when an answer is there. */
  readonly isAnswered: Int32Array<SharedArrayBuffer>;
}

type News = { readonly url: string } | { readonly isOpen: true } | { readonly text: string };

/** A channel to a page, and the address at which the page is served. */
export class Channel {
  /** Gets each message of the page. */
  onText: (text: string) => void = () => {};
  readonly #worker: Worker;
  readonly #answers: MessagePort;
  readonly #isAnswered = new Int32Array(new SharedArrayBuffer(4));
  readonly #url = Promise.withResolvers<string>();
  readonly #opened = Promise.withResolvers<void>();

  /** @param script the script of the page */
  constructor(script: string) {
    const { port1, port2 } = new MessageChannel();
    this.#answers = port1;
    const workerData: WorkerData = { script, answers: port2, isAnswered: this.#isAnswered };
    const options = { workerData, transferList: [port2], execArgv: [] };
    this.#worker = new Worker(new URL("./channel-worker.ts", import.meta.url), options);
    this.#worker.on("message", (news: News) => {
      if ("text" in news) this.onText(news.text);
      else if ("url" in news) this.#url.resolve(news.url);
      else this.#opened.resolve();
    });
    this.#worker.on("error", (error) => this.#url.reject(error));
  }

  /** The address of the page. */
  get url(): Promise<string> {
    return this.#url.promise;
  }

  /** Resolves when the page has its end of the channel. */
  get opened(): Promise<void> {
    return this.#opened.promise;
  }

  post(text: string): void {
    this.#worker.postMessage(text);
  }

  /** Sends a message, and waits for its answer: nothing else happens in this thread meanwhile. */
  ask(text: string): string {
    Atomics.store(this.#isAnswered, 0, 0);
    this.#worker.postMessage(AT_ONCE + text);
    // The notification of the answer before this one may come late, and end a wait without an answer.
    while (Atomics.load(this.#isAnswered, 0) === 0) {
      if (Atomics.wait(this.#isAnswered, 0, 0, ANSWER_MS) !== "timed-out") continue;
      throw new Error(`the page has not answered within ${ANSWER_MS} ms: ${text.slice(0, 100)}`);
    }
    return receiveMessageOnPort(this.#answers)?.message as string;
  }

  async close(): Promise<void> {
    const exited = once(this.#worker, "exit");
    void this.#worker.terminate();
    await exited;
    this.#answers.close();
  }
}
