import type { ImportRequest } from "hawser/gen/chat/v1/room_pb.js";
import { ConnectError } from "hawser/server";
import type { NewRecord, TopicLog } from "hawser/topics";
import { checkName, checkSequence, checkText, invalid } from "./checks.ts";
import { recordOf, topicOf } from "./record.ts";

/** While one batch is being stored, the next one may grow to one of these limits; then the client waits. */
const BATCH = { records: 256, bytes: 64 * 1024 };

/** The outcome of an import. */
export interface Imported {
  messages: bigint;
  repeated: bigint;
  cursor: string;
}

/**
 * Adds the messages in their order. The first message is stored at once; those that
 * arrive while a batch is being stored are the next batch.
 *
 * @param ownProducer makes the id in the log of a producer
 */
export async function importMessages(
  requests: AsyncIterable<ImportRequest>,
  log: Pick<TopicLog, "append">,
  ownProducer: (producer: string) => string,
): Promise<Imported> {
  const batches = new Batches(log);
  let previous: ImportRequest | undefined;
  try {
    for await (const request of requests) {
      const message: ImportRequest = completed(request, previous);
      check(message, batches.taken + 1n);
      previous = message;
      const record = recordOf({ ...message, producer: ownProducer(message.producer) });
      const pause = batches.add(topicOf(message.room), record);
      if (pause !== undefined) await pause;
    }
  } finally {
    // However the import ends, try to store the messages that were accepted.
    await batches.flush();
  }
  return batches.imported;
}

/** Fills empty fields from the previous request; a sequence of 0 becomes the previous one plus 1. */
function completed(request: ImportRequest, previous: ImportRequest | undefined): ImportRequest {
  return {
    ...request,
    room: request.room || (previous?.room ?? ""),
    name: request.name || (previous?.name ?? ""),
    producer: request.producer || (previous?.producer ?? ""),
    sequence: request.sequence || (previous?.sequence ?? 0n) + 1n,
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
    throw invalid(`message ${number}: ${reason}${storedBefore(number)}`);
  }
}

/** Says which messages are stored, although this one is not valid. */
function storedBefore(number: bigint): string {
  if (number === 1n) return "";
  return number === 2n ? "; message 1 is stored" : `; messages 1 to ${number - 1n} are stored`;
}

class Batches {
  readonly imported: Imported = { messages: 0n, repeated: 0n, cursor: "" };
  taken = 0n;
  readonly #log: Pick<TopicLog, "append">;
  #topic = "";
  #records: NewRecord[] = [];
  #bytes = 0;
  /** Resolves when the batch that is being stored is done, even if storing failed (see #failure). */
  #storing: Promise<void> | undefined;
  #failure: { error: unknown } | undefined;

  constructor(log: Pick<TopicLog, "append">) {
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

  /** Resolves when all records are stored. Rejects if storing failed. */
  async flush(): Promise<void> {
    while (this.#storing !== undefined || this.#records.length > 0) {
      this.#sendBatch();
      await this.#storing;
    }
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  #put(topic: string, record: NewRecord): Promise<void> | undefined {
    this.#topic = topic;
    this.#records.push(record);
    this.#bytes += record.data.length;
    if (this.#storing === undefined) this.#sendBatch();
    const isFull = this.#records.length >= BATCH.records || this.#bytes >= BATCH.bytes;
    return isFull || this.#failure !== undefined ? this.#whenStored() : undefined;
  }

  async #whenStored(): Promise<void> {
    await this.#storing;
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Sends the collected records, unless another batch is being stored. After a failure, drops them. */
  #sendBatch(): void {
    if (this.#storing !== undefined || this.#records.length === 0) return;
    const records = this.#records;
    this.#records = [];
    this.#bytes = 0;
    if (this.#failure !== undefined) return;
    this.#storing = this.#store(this.#topic, records).then(() => {
      this.#storing = undefined;
      this.#sendBatch();
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
