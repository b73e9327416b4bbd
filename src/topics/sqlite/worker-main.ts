/**
 * The threads of a SQLite log: one writes, one reads, each with its own connection. The appends
 * that wait for the writer go into one transaction, so that they share one fsync.
 */
import { receiveMessageOnPort, workerData } from "node:worker_threads";
import {
  type AppendMessage,
  type CallMessage,
  type FromThread,
  failureOf,
  type PageColumns,
  type ReaderCall,
  type ToThread,
  type WorkerInput,
  type WriterCall,
} from "./message.ts";
import { FileReader } from "./reader.ts";
import { type WaitingAppend, WaitingAppends } from "./waiting-appends.ts";
import { FileWriter, isFatal } from "./writer.ts";

/**
 * The limits of one transaction, so that the appends after it do not wait long; at least one append is in it. What is committed
 * takes about 5 ms for each MiB, beside the fsync; `ms` is the time before the commit. One owner alone has larger transactions:
 * each costs an fsync. With several owners those of 128 KiB store a quarter more than those of 16 KiB, and an append of an owner
 * that has few takes twice as long.
 */
const GROUP = {
  alone: { records: 4_096, bytes: 8 * 2 ** 20, ms: 50 },
  shared: { records: 4_096, bytes: 2 ** 14, ms: 5 },
};

/** How often records are deleted while appends wait too. */
const SWEEP_EVERY_MS = 5;

/** How long the writer deletes nothing after the disk had no space for a deletion. */
const SWEEP_AGAIN_MS = 1_000;

const data = workerData as WorkerInput;
const { port } = data;

function post(message: FromThread, transfer: ArrayBuffer[] = []): void {
  port.postMessage(message, transfer);
}

/** Answers a call with what `run` returns or throws. Returns the error that it throws. */
function answer(id: number, run: () => unknown): unknown {
  let value: unknown;
  try {
    value = run();
  } catch (error) {
    post({ kind: "answer", id, failure: failureOf(error, data.path) });
    return error;
  }
  const columns = value as PageColumns | undefined;
  const transfer = columns?.data instanceof Uint8Array ? [columns.data.buffer as ArrayBuffer] : [];
  post({ kind: "answer", id, value }, transfer);
  return undefined;
}

function read(): void {
  let reader: FileReader;
  port.on("message", ({ id, call }: CallMessage<ReaderCall>) =>
    answer(id, () => {
      if (call.do === "open") reader = new FileReader(data.path);
      else if (call.do === "page") {
        return reader.page(call.topic, call.after, call);
      } else if (call.do === "oldest") return reader.oldest(call.topic);
      else if (call.do === "end") return reader.end(call.topic);
      else if (call.do === "topics") return reader.topics(call);
      else if (call.do === "close") reader?.close();
      return undefined;
    }),
  );
}

function write(): void {
  let writer: FileWriter;
  const waiting: ToThread[] = [];
  const appends = new WaitingAppends(() => performance.now());
  let nowMs = 0;
  let sweptAt = 0;
  let isDue = false;

  port.on("message", (message: ToThread) => {
    waiting.push(message);
    try {
      work();
    } catch (error) {
      post({ kind: "failed", failure: failureOf(error, data.path) });
      port.close();
    }
  });

  /** Works until no message waits, and nothing is to be deleted. */
  function work(): void {
    for (;;) {
      receive();
      // A call waits for the appends before it.
      while (waiting[0]?.kind === "append") add(waiting.shift() as AppendMessage);
      const message = waiting[0];
      if (!appends.isEmpty) append();
      else if (message?.kind === "call") call(waiting.shift() as CallMessage<WriterCall>);
      else if (message?.kind === "tick") {
        nowMs = message.nowMs;
        waiting.shift();
        writer.tick(nowMs);
        isDue = true;
      } else if (!isDue) return;
      if (
        isDue &&
        ((waiting.length === 0 && appends.isEmpty) || performance.now() - sweptAt >= SWEEP_EVERY_MS)
      )
        sweep();
    }
  }

  /** Takes all messages that have arrived. */
  function receive(): void {
    for (
      let next = receiveMessageOnPort(port);
      next !== undefined;
      next = receiveMessageOnPort(port)
    ) {
      waiting.push(next.message as ToThread);
    }
  }

  function add(message: AppendMessage): void {
    appends.add(message);
    nowMs = message.nowMs;
  }

  /** Stores the next appends that wait, in one transaction. */
  function append(): void {
    const { taken, outcomes } = writer.append(nextGroup());
    post({ kind: "appended", numbers: taken.map(({ number }) => number), outcomes });
    isDue ||= writer.isDue;
  }

  /** Takes appends as they are stored, up to the limits of a transaction. */
  function* nextGroup(): Generator<WaitingAppend, undefined> {
    const limits = appends.isShared ? GROUP.shared : GROUP.alone;
    const endsMs = performance.now() + limits.ms;
    let [count, bytes] = [0, 0];
    for (const append of appends.take()) {
      yield append;
      const { records } = append;
      count += records.length;
      for (const { data } of records) bytes += data.length;
      if (count >= limits.records || bytes >= limits.bytes || performance.now() >= endsMs) break;
    }
    return undefined;
  }

  function call({ id, call }: CallMessage<WriterCall>): void {
    const error = answer(id, () => {
      if (call.do === "open") {
        writer = new FileWriter(data, call.newEpoch, call.nowMs);
        nowMs = call.nowMs;
        isDue = true;
        return writer.epoch;
      }
      if (call.do === "trim") {
        writer.trim(call.topic, call.upTo);
        isDue = true;
      } else if (call.do === "close") {
        isDue = false;
        writer?.close();
      }
      return undefined;
    });
    if (error !== undefined && isFatal(error)) throw error;
  }

  function sweep(): void {
    try {
      isDue = writer.sweep(nowMs);
      sweptAt = performance.now();
    } catch (error) {
      if (isFatal(error)) throw error;
      // The disk has no space for the deletion: the next append or tick begins it again.
      isDue = false;
      sweptAt = performance.now() + SWEEP_AGAIN_MS;
    }
  }
}

if (data.role === "writer") write();
else read();
