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
  /** Whether there is nothing after the items. */
  readonly isComplete: boolean;
}

/** The records after a position, without a look at what may be missing. */
interface RecordBatch {
  /** Whether the record at the position itself was there. */
  readonly hasPosition: boolean;
  readonly records: TopicRecord[];
  readonly isComplete: boolean;
}

/** What one consumer gave. */
interface ConsumerBatch extends RecordBatch {
  /** Fewer records came than the consumer had announced: the leader must say whether the batch is complete. */
  readonly isUnsure: boolean;
}

/** How many records the first pull asks for; the next ones ask for as many as fit by the size of those that came. */
const FIRST_BATCH = 32;
const LARGEST_BATCH = 512;
/** How many pages are read at once: each is a consumer, which is work for the server. */
const PAGES_AT_ONCE = 64;
/** A pull without a message for timeoutMs / TRIES is given up, and another consumer is asked. */
const TRIES = 4;
/** After this time without a pull the server drops a consumer that was not deleted. */
const INACTIVE_MS = 10_000;
const NANOS = 1e6;
/** The pause before a request is sent again. */
export const BETWEEN_TRIES_MS = 20;

/**
 * Reads the stream of a log. A position is a sequence of the stream, which all
 * topics share, so that a distance between two positions says nothing about what
 * was between them. Whether records of a topic are gone after a position is
 * decided in this order:
 *
 *     the record at the position is there: the oldest go first, so none is gone
 *     the next record is at the next sequence: none is gone
 *     all of these hold: none is gone
 *       age       the stream still has its messages from the position on
 *       trim      the last trim of the topic was not after the position
 *       number    the topic has fewer records than it may have
 *       floor     the limits have not changed after the position
 *
 * Where one does not hold, records may be gone or not, and a gap is given.
 */
export class StreamReader {
  readonly #wire: Wire;
  readonly #stream: string;
  readonly #epoch: string;
  readonly #timeoutMs: number;
  /** Whether a replica may answer that does not have the newest records yet. */
  readonly #hasReplicas: boolean;
  readonly #atOnce = new Semaphore(PAGES_AT_ONCE);

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
      // First the end, then the records again: a record that is stored in between comes after the gap.
      const end = await this.end(subjects);
      batch = await this.#fetch(subjects, Math.min(position ?? 0, end.position), limits);
      next = batch.records[0]?.position ?? end.position + 1;
    }
    const items = [gapAt(subjects, next - 1), ...batch.records];
    return { items, isComplete: batch.isComplete };
  }

  /**
   * The position of the last record; where there is none, of the last message of the stream: the
   * next record comes after it.
   */
  async end(subjects: TopicSubjects): Promise<TopicPosition> {
    const position =
      (await this.#last(subjects.records))?.seq ?? (await this.state(subjects)).state.last_seq;
    return { position, cursor: subjects.cursors.write(position) };
  }

  /** Up to which position a topic was trimmed, and the sequence of the message that says so. */
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
   * The state of the stream, with the number of the topic's records, or of those of all topics.
   * Throws where it is another stream.
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

  /** Whether a batch follows its position without a gap. */
  async #follows(
    subjects: TopicSubjects,
    position: number | undefined,
    batch: RecordBatch,
  ): Promise<boolean> {
    if (position === undefined) return false;
    if (batch.hasPosition || batch.records[0]?.position === position + 1) return true;
    const { state, config } = await this.state(subjects);
    const count = state.subjects?.[subjects.records] ?? 0;
    const most = config.max_msgs_per_subject;
    return (
      position <= state.last_seq &&
      state.first_seq <= position + 1 &&
      floorOf(config.description) <= position &&
      (most <= 0 || count < most) &&
      (await this.trimmed(subjects)).upTo <= position
    );
  }

  #last(subject: string) {
    return this.#message({ last_by_subj: subject });
  }

  /** A message, as the leader of the stream has it. */
  async #message(query: { seq: number } | { last_by_subj: string }) {
    const answer = await this.#wire.api<{ message: { seq: number; data?: string } }>(
      `STREAM.MSG.GET.${this.#stream}`,
      query,
    );
    if (answer.error?.err_code === REFUSED.noMessage) return undefined;
    return orThrow(answer).message;
  }

  /**
   * The records after a position; none only where the leader has none. Where a
   * consumer gave none, another one is asked, which begins at the position again,
   * so that what was removed meanwhile is noticed. Where it gave some, but not all
   * that it had announced, those are the page.
   */
  async #fetch(
    subjects: TopicSubjects,
    position: number,
    limits: Required<PageLimits>,
  ): Promise<RecordBatch> {
    const giveUp = performance.now() + this.#timeoutMs;
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
      if (performance.now() > giveUp) {
        throw failure(
          Code.Unavailable,
          `JetStream has not given a record that it has within timeoutMs ${this.#timeoutMs}`,
        );
      }
      await sleep(BETWEEN_TRIES_MS, undefined);
    }
  }

  /**
   * Runs the work when fewer than PAGES_AT_ONCE pages are being read. Where it fails, work that has waited for half of
   * timeoutMs or longer fails with the same error: from a server that does not answer it would get that too, later.
   */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    return this.#atOnce.run(async () => {
      try {
        return await work();
      } catch (error) {
        this.#atOnce.dropWaiting(this.#timeoutMs / 2, error);
        throw error;
      }
    });
  }

  /**
   * Whether records may have been removed between these while they were read: the oldest go first,
   * so not while the first is there.
   */
  async #maySkip(records: readonly TopicRecord[]): Promise<boolean> {
    const [first, last] = [records[0], records.at(-1)];
    if (first === undefined || last === undefined) return false;
    const areAdjacent = last.position - first.position < records.length;
    return !areAdjacent && !(await this.has(first.position));
  }

  /** Reads one page, by a consumer that is made for it. */
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
    const giveUp = performance.now() + this.#timeoutMs;
    const quietMs = this.#timeoutMs / TRIES;
    // A server of 2.9 drops a pull without an answer when it expires between two records: it must
    // not expire before timeoutMs.
    const expires = Math.ceil(this.#timeoutMs * NANOS);
    const next = `$JS.API.CONSUMER.MSG.NEXT.${this.#stream}.${consumer.name}`;
    while (pending > 0 && !isUnsure && !isFull()) {
      const fits =
        bytes === 0 ? FIRST_BATCH : Math.ceil(((limits.bytes - bytes) * records.length) / bytes);
      // One more, for the record at the position, which is not part of the page.
      const most = limits.records - records.length + 1;
      const wanted = Math.min(most, Math.max(fits, 1), LARGEST_BATCH);
      const batch = Math.min(pending, wanted);
      let came = 0;
      let isNew = false;
      // With no_wait the server answers at once where the records that it had announced are gone, unless all are.
      const pull = JSON.stringify({ batch, expires, no_wait: true });
      const answered = await this.#wire.collect(
        { subject: next, data: pull },
        quietMs,
        (message) => {
          const status = statusOf(message);
          if (status !== 0) {
            if (status === 503 && performance.now() < giveUp) {
              // In a cluster a server may learn of a new consumer after the answer that it was made.
              isNew = true;
              return true;
            }
            if (status !== 404 && status !== 408) throw brokenOff(message);
            // The records that it had announced are gone by now, or it is slow.
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
            // This record is not part of the page: there is more.
            pending = Math.max(pending, 1);
            return ++came >= batch;
          }
          return ++came >= batch || pending === 0;
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
 * The code of an answer that is not a message: 404 and 408 where there is none, 503 where no server
 * has the consumer. 0: it is a message.
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
 * What the reply subject of a consumer's message says:
 * $JS.ACK.(domain.account.)stream.consumer.tries.SEQ.n.NANOSECONDS.PENDING(.random)
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
