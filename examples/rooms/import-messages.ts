import type { ImportRequest } from "hawser/gen/chat/v1/room_pb.js";
import { ConnectError } from "hawser/server";
import type { NewRecord, TopicLog } from "hawser/topics";
import { checkName, checkSequence, checkText, invalid } from "./checks.ts";
import { recordOf, topicOf } from "./record.ts";

/** A batch is sent to the log when it reaches one of these limits. */
const BATCH = { records: 256, bytes: 64 * 1024 };

/** The outcome of an import. */
export interface Imported {
  messages: bigint;
  repeated: bigint;
  cursor: string;
}

/**
 * Adds the messages in their order. While one batch is on its way to the log, the
 * next one fills; when that is full, the client waits.
 */
export async function importMessages(
  requests: AsyncIterable<ImportRequest>,
  log: TopicLog,
): Promise<Imported> {
  const batches = new Batches(log);
  let before: ImportRequest | undefined;
  try {
    for await (const request of requests) {
      const message: ImportRequest = completed(request, before);
      check(message, batches.taken + 1n);
      before = message;
      const full = batches.add(topicOf(message.room), recordOf(message));
      if (full !== undefined) await full;
    }
  } finally {
    // Whatever ends the import, the messages before are stored.
    await batches.flush();
  }
  return batches.imported;
}

/** A request with the fields that it leaves out, from the request before it. */
function completed(request: ImportRequest, before: ImportRequest | undefined): ImportRequest {
  return {
    ...request,
    room: request.room || (before?.room ?? ""),
    name: request.name || (before?.name ?? ""),
    producer: request.producer || (before?.producer ?? ""),
    sequence: request.sequence || (before?.sequence ?? 0n) + 1n,
  };
}

function check({ room, name, text, producer, sequence }: ImportRequest, number: bigint): void {
  try {
    checkName("room", room);
    checkName("name", name);
    checkText("text", text);
    checkName("producer", producer);
    checkSequence("sequence", sequence);
  } catch (error) {
    const reason = error instanceof ConnectError ? error.rawMessage : error;
    throw invalid(`message ${number}: ${reason}; those before it are stored`);
  }
}

class Batches {
  readonly imported: Imported = { messages: 0n, repeated: 0n, cursor: "" };
  taken = 0n;
  readonly #log: TopicLog;
  #topic = "";
  #records: NewRecord[] = [];
  #bytes = 0;
  /** Resolves when the current batch is stored; `undefined` if no batch is being stored. */
  #flight: Promise<void> | undefined;
  #failure: { error: unknown } | undefined;

  constructor(log: TopicLog) {
    this.#log = log;
  }

  /**
   * Returns a promise if the next record must wait for it. The promise rejects if an earlier batch
   * could not be stored.
   */
  add(topic: string, record: NewRecord): Promise<void> | undefined {
    this.taken++;
    if (topic !== this.#topic && this.#records.length > 0) {
      return this.flush().then(() => this.#put(topic, record));
    }
    return this.#put(topic, record);
  }

  /** Resolves when all is stored. */
  async flush(): Promise<void> {
    while (this.#flight !== undefined || this.#records.length > 0) {
      this.#depart();
      await this.#flight;
    }
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  #put(topic: string, record: NewRecord): Promise<void> | undefined {
    this.#topic = topic;
    this.#records.push(record);
    this.#bytes += record.data.length;
    if (this.#flight === undefined) this.#depart();
    const full = this.#records.length >= BATCH.records || this.#bytes >= BATCH.bytes;
    return full || this.#failure !== undefined ? this.#landed() : undefined;
  }

  async #landed(): Promise<void> {
    await this.#flight;
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Sends the batch that has filled, when no other is on its way. */
  #depart(): void {
    if (this.#flight !== undefined || this.#records.length === 0) return;
    const records = this.#records;
    this.#records = [];
    this.#bytes = 0;
    if (this.#failure !== undefined) return;
    this.#flight = this.#store(this.#topic, records).then(() => {
      this.#flight = undefined;
      this.#depart();
    });
  }

  async #store(topic: string, records: NewRecord[]): Promise<void> {
    try {
      const appended = await this.#log.append(topic, records);
      this.imported.messages += BigInt(appended.length);
      for (const { repeated } of appended) if (repeated) this.imported.repeated++;
      this.imported.cursor = appended.at(-1)?.cursor ?? this.imported.cursor;
    } catch (error) {
      this.#failure ??= { error };
    }
  }
}
