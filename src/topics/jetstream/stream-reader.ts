import { randomBytes } from "node:crypto";
import { Code } from "@connectrpc/connect";
import type { ConsumerInfo, StreamInfo } from "@nats-io/jetstream";
import type { Msg, MsgHdrs } from "@nats-io/transport-node";
import { failure } from "../../failure.ts";
import { Semaphore } from "../../flow/semaphore.ts";
import { sleep } from "../../flow/wait.ts";
import type { PageLimits, TopicGap, TopicItem, TopicPosition, TopicRecord } from "../log.ts";
import { logFailure } from "../log-failure.ts";
import { headerTimeMs, recordOf } from "./record.ts";
import { orThrow, REFUSED } from "./refusal.ts";
import { epochOf, floorOf, subjectsOf, type TopicSubjects } from "./stream.ts";
import type { Wire } from "./wire.ts";

export interface JetStreamPage {
  readonly items: TopicItem[];
  /** Whether the topic has nothing after the items. */
  readonly isComplete: boolean;
}

/** The records after a position; not checked for records that are missing. */
interface RecordBatch {
  /** Whether the stream has the record at the position itself. */
  readonly hasPosition: boolean;
  readonly records: TopicRecord[];
  readonly isComplete: boolean;
}

/** The records that one consumer returned. */
interface ConsumerBatch extends RecordBatch {
  /**
   * Whether the consumer returned fewer records than it had announced. If so, the leader must be
   * asked whether the batch is complete.
   */
  readonly isUnsure: boolean;
}

/**
 * How many records the first pull asks for. The following ones estimate the number from the size of
 * the records so far.
 */
const FIRST_BATCH = 32;
const LARGEST_BATCH = 512;
/** How many pages are read at the same time: each needs a consumer, which is work for the server. */
const PAGES_AT_ONCE = 64;
/** If a pull brings no message for timeoutMs / TRIES, another consumer is asked. */
const TRIES = 4;
/** A consumer that was not deleted is dropped by the server after this time without a pull. */
const INACTIVE_MS = 10_000;
const NANOS = 1e6;
/** The pause before a request is sent again. */
export const BETWEEN_TRIES_MS = 20;

/**
 * Reads the stream of a log. A position is a sequence of the stream, which all topics share: the
 * distance between two positions does not tell how many records of the topic lie between them.
 * Whether records of a topic were removed after a position is decided in this order:
 *
 *     the record at the position exists: the oldest are removed first, so nothing is missing
 *     the next record is at the next sequence: nothing is missing
 *     all of these hold: nothing is missing
 *       age       the stream still has its messages from the position on
 *       trim      the newest trim of the topic was not after the position
 *       number    the topic has fewer records than its limit
 *       floor     the limits have not changed after the position
 *
 * If one of these does not hold, records may have been removed, and the reader reports a gap.
 */
export class StreamReader {
  readonly #wire: Wire;
  readonly #stream: string;
  readonly #epoch: string;
  readonly #timeoutMs: number;
  /** If true, the stream has replicas: one of them may answer without the newest records. */
  readonly #hasReplicas: boolean;
  readonly #pageSlots = new Semaphore(PAGES_AT_ONCE);

  constructor(
    wire: Wire,
    info: StreamInfo,
    { epoch, timeoutMs }: { epoch: string; timeoutMs: number },
  ) {
    this.#wire = wire;
    this.#stream = info.config.name;
    this.#epoch = epoch;
    this.#timeoutMs = timeoutMs;
    this.#hasReplicas = info.config.num_replicas > 1;
  }

  subjects(topic: string): TopicSubjects {
    return subjectsOf(this.#stream, this.#epoch, topic);
  }

  async page(
    subjects: TopicSubjects,
    after: string | undefined,
    limits: Required<PageLimits>,
  ): Promise<JetStreamPage> {
    const position = after === undefined ? undefined : subjects.cursors.read(after);
    let batch = await this.#fetch(subjects, position ?? 0, limits);
    if (after === undefined || (await this.#follows(subjects, position, batch))) {
      return { items: batch.records, isComplete: batch.isComplete };
    }
    let next = batch.records[0]?.position;
    if (next === undefined) {
      // Read the end first, then the records again: a record stored in between comes after the gap.
      const end = await this.end(subjects);
      batch = await this.#fetch(subjects, Math.min(position ?? 0, end.position), limits);
      next = batch.records[0]?.position ?? end.position + 1;
    }
    const items = [gapAt(subjects, next - 1), ...batch.records];
    return { items, isComplete: batch.isComplete };
  }

  /**
   * Returns the position of the topic's newest record. If it has none, returns the position of the
   * newest message of the stream: the topic's next record comes after that.
   */
  async end(subjects: TopicSubjects): Promise<TopicPosition> {
    const position =
      (await this.#last(subjects.records))?.seq ?? (await this.state(subjects)).state.last_seq;
    return { position, cursor: subjects.cursors.write(position) };
  }

  /** Returns the position up to which a topic was trimmed, and the sequence of its trim marker. */
  async trimmed(subjects: TopicSubjects): Promise<{ upTo: number; seq: number }> {
    const marker = await this.#last(subjects.trim);
    if (marker === undefined) return { upTo: 0, seq: 0 };
    return { upTo: Number(Buffer.from(marker.data ?? "", "base64").toString()), seq: marker.seq };
  }

  /** Whether the stream still has the message with this sequence. */
  async has(seq: number): Promise<boolean> {
    return (await this.#message({ seq })) !== undefined;
  }

  /**
   * Returns the state of the stream, with the number of records of the topic, or of each topic.
   * Throws FAILED_PRECONDITION if the stream was deleted and created again.
   */
  async state(subjects?: TopicSubjects, offset = 0): Promise<StreamInfo> {
    const info = orThrow(
      await this.#wire.api<StreamInfo>(`STREAM.INFO.${this.#stream}`, {
        subjects_filter: subjects?.records ?? `${this.#stream}.${this.#epoch}.log.*`,
        offset,
      }),
    );
    if (epochOf(info) !== this.#epoch) {
      throw logFailure(Code.FailedPrecondition, {
        forClients: "the server's log has ended, for what it kept was deleted",
        forOperator: `the stream ${this.#stream} was deleted and made anew: open the log again`,
      });
    }
    return info;
  }

  /** Whether no record is missing between a position and a batch. */
  async #follows(
    subjects: TopicSubjects,
    position: number | undefined,
    batch: RecordBatch,
  ): Promise<boolean> {
    if (position === undefined) return false;
    if (batch.hasPosition || batch.records[0]?.position === position + 1) return true;
    const { state, config } = await this.state(subjects);
    const count = state.subjects?.[subjects.records] ?? 0;
    const maxRecords = config.max_msgs_per_subject;
    return (
      position <= state.last_seq &&
      state.first_seq <= position + 1 &&
      floorOf(config.description) <= position &&
      (maxRecords <= 0 || count < maxRecords) &&
      (await this.trimmed(subjects)).upTo <= position
    );
  }

  #last(subject: string) {
    return this.#message({ last_by_subj: subject });
  }

  /** Asks the leader of the stream for a message. */
  async #message(query: { seq: number } | { last_by_subj: string }) {
    const answer = await this.#wire.api<{ message: { seq: number; data?: string } }>(
      `STREAM.MSG.GET.${this.#stream}`,
      query,
    );
    if (answer.error?.err_code === REFUSED.noMessage) return undefined;
    return orThrow(answer).message;
  }

  /**
   * Reads the records after a position. Returns none only if the leader has none. If a consumer
   * returned none, another consumer is asked, which begins at the position again and so notices
   * what was removed meanwhile. If a consumer returned some records, but fewer than announced,
   * those are the page.
   */
  async #fetch(
    subjects: TopicSubjects,
    position: number,
    limits: Required<PageLimits>,
  ): Promise<RecordBatch> {
    const giveUpAtMs = performance.now() + this.#timeoutMs;
    for (;;) {
      const batch = await this.#inTurn(() => this.#fetchOnce(subjects, position, limits));
      const { records } = batch;
      if (await this.#maySkip(records)) {
        return { ...batch, records: records.slice(0, 1), isComplete: false };
      }
      if (!batch.isUnsure && !(batch.isComplete && this.#hasReplicas)) return batch;
      const last = await this.#last(subjects.records);
      const isComplete = last === undefined || last.seq <= (records.at(-1)?.position ?? position);
      if (isComplete || records.length > 0) return { ...batch, isComplete };
      if (performance.now() > giveUpAtMs) {
        throw failure(
          Code.Unavailable,
          `JetStream has not given a record that it has within timeoutMs ${this.#timeoutMs}`,
        );
      }
      await sleep(BETWEEN_TRIES_MS, undefined);
    }
  }

  /**
   * Runs the work when fewer than PAGES_AT_ONCE pages are being read. If it fails, work that has
   * waited for half of timeoutMs or longer fails with the same error: a server that does not answer
   * would only fail it later.
   */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    return this.#pageSlots.run(async () => {
      try {
        return await work();
      } catch (error) {
        this.#pageSlots.dropWaiting(this.#timeoutMs / 2, error);
        throw error;
      }
    });
  }

  /**
   * Whether records between these may have been removed while they were read. The oldest are
   * removed first, so this is impossible while the first one exists.
   */
  async #maySkip(records: readonly TopicRecord[]): Promise<boolean> {
    const [first, last] = [records[0], records.at(-1)];
    if (first === undefined || last === undefined) return false;
    const areAdjacent = last.position - first.position < records.length;
    return !areAdjacent && !(await this.has(first.position));
  }

  /** Reads one page with a consumer that is created for it. */
  async #fetchOnce(
    subjects: TopicSubjects,
    position: number,
    limits: Required<PageLimits>,
  ): Promise<ConsumerBatch> {
    const name = randomBytes(9).toString("hex");
    const consumer = orThrow(
      await this.#wire.api<ConsumerInfo>(
        `CONSUMER.CREATE.${this.#stream}.${name}.${subjects.records}`,
        {
          stream_name: this.#stream,
          config: {
            name,
            filter_subject: subjects.records,
            deliver_policy: "by_start_sequence",
            opt_start_seq: Math.max(position, 1),
            ack_policy: "none",
            replay_policy: "instant",
            mem_storage: true,
            num_replicas: 1,
            inactive_threshold: INACTIVE_MS * NANOS,
          },
        },
      ),
    );
    try {
      return await this.#pull(
        { name, pending: consumer.num_pending },
        { subjects, position },
        limits,
      );
    } finally {
      this.#wire.notify(`CONSUMER.DELETE.${this.#stream}.${name}`);
    }
  }

  async #pull(
    consumer: { name: string; pending: number },
    { subjects, position }: { subjects: TopicSubjects; position: number },
    limits: Required<PageLimits>,
  ): Promise<ConsumerBatch> {
    let { pending } = consumer;
    const records: TopicRecord[] = [];
    let hasPosition = false;
    let bytes = 0;
    let timeMs = 0;
    let isUnsure = false;
    const isFull = () => records.length >= limits.records || bytes >= limits.bytes;
    const giveUpAtMs = performance.now() + this.#timeoutMs;
    const quietMs = this.#timeoutMs / TRIES;
    // A 2.9 server drops a pull without an answer if it expires between two records: it must not
    // expire before timeoutMs.
    const expires = Math.ceil(this.#timeoutMs * NANOS);
    const next = `$JS.API.CONSUMER.MSG.NEXT.${this.#stream}.${consumer.name}`;
    while (pending > 0 && !isUnsure && !isFull()) {
      const fits =
        bytes === 0 ? FIRST_BATCH : Math.ceil(((limits.bytes - bytes) * records.length) / bytes);
      // Add one for the record at the position, which is not part of the page.
      const maxWanted = limits.records - records.length + 1;
      const wanted = Math.min(maxWanted, Math.max(fits, 1), LARGEST_BATCH);
      const batch = Math.min(pending, wanted);
      let arrived = 0;
      let isNew = false;
      // With no_wait the server answers immediately if announced records were removed, unless all
      // of them were.
      const pull = JSON.stringify({ batch, expires, no_wait: true });
      const answered = await this.#wire.collect(
        { subject: next, data: pull },
        quietMs,
        (message) => {
          const status = statusOf(message);
          if (status !== 0) {
            if (status === 503 && performance.now() < giveUpAtMs) {
              // In a cluster a server may learn of a new consumer only after its creation was
              // acknowledged.
              isNew = true;
              return true;
            }
            if (status !== 404 && status !== 408) throw brokenOff(message);
            // The announced records were removed meanwhile, or the server is slow.
            isUnsure = true;
            return true;
          }
          const delivered = deliveredOf(message.reply as string);
          pending = delivered.pending;
          timeMs = Math.max(timeMs, headerTimeMs(message.headers) ?? delivered.timeMs);
          if (delivered.seq === position) hasPosition = true;
          else if (!isFull()) {
            records.push(recordOf(subjects, delivered.seq, { data: message.data, timeMs }));
            bytes += message.data.length;
          } else {
            // This record is not part of the page, so the page is not the end.
            pending = Math.max(pending, 1);
            return ++arrived >= batch;
          }
          return ++arrived >= batch || pending === 0;
        },
      );
      isUnsure ||= !answered;
      if (isNew) await sleep(BETWEEN_TRIES_MS, undefined);
    }
    return { hasPosition, records, isComplete: pending === 0, isUnsure };
  }
}

function gapAt(subjects: TopicSubjects, position: number): TopicGap {
  return { kind: "gap", position, cursor: subjects.cursors.write(position) };
}

/**
 * Returns the status code of an answer: 404 and 408 if there is no message, 503 if no server has
 * the consumer, 0 if the answer is a message.
 */
function statusOf({ headers, data }: Msg): number {
  return data.length === 0 ? (headers?.code ?? 0) : 0;
}

function brokenOff({ headers }: Msg) {
  const { code, description } = headers as MsgHdrs;
  return logFailure(Code.Unavailable, {
    forClients: "the server's log broke off: try again later",
    forOperator: `JetStream broke off a page: ${description} (${code})`,
  });
}

/**
 * Parses the reply subject of a consumer's message:
 *     $JS.ACK.(domain.account.)stream.consumer.tries.SEQ.n.NANOSECONDS.PENDING(.random)
 */
function deliveredOf(reply: string): { seq: number; timeMs: number; pending: number } {
  const words = reply.split(".");
  const at = words.length === 9 ? 5 : 7;
  return {
    seq: Number(words[at]),
    timeMs: Number((words[at + 2] as string).slice(0, -6)),
    pending: Number(words[at + 3]),
  };
}
