import { randomBytes } from "node:crypto";
import { Code } from "@connectrpc/connect";
import type { ConsumerInfo, StreamInfo } from "@nats-io/jetstream";
import type { Msg, MsgHdrs } from "@nats-io/transport-node";
import { failure } from "../../failure.ts";
import { Semaphore } from "../../flow/semaphore.ts";
import { sleep } from "../../flow/wait.ts";
import { type Cursors, cursorsOf } from "../cursor.ts";
import type { PageLimits, TopicGap, TopicItem, TopicPosition, TopicRecord } from "../log.ts";
import { logFailure } from "../log-failure.ts";
import { epochOf, floorOf, tokenOf } from "./stream.ts";
import { REFUSED, type Refusal, refused, type Wire } from "./wire.ts";

/** Where a topic lies in the stream. */
export interface TopicSubjects {
  readonly subject: string;
  readonly live: string;
  readonly trim: string;
  readonly cursors: Cursors;
}

export interface JetStreamPage {
  readonly items: TopicItem[];
  /** There was nothing behind them. */
  readonly complete: boolean;
}

interface Fetched {
  /** The record at the position itself was there. */
  readonly held: boolean;
  readonly entries: TopicRecord[];
  readonly complete: boolean;
}

/** By one consumer. */
interface Pulled extends Fetched {
  /** Less came than was said to be there: the leader must say whether it is complete. */
  readonly unsure: boolean;
}

/** So many records are asked for at first; then as many as fit by their size so far. */
const FIRST_BATCH = 32;
const LARGEST_BATCH = 512;
/** So many pages are read at once: each is a consumer, which is work for the server. */
const PAGES_AT_ONCE = 64;
/** After so many parts of timeoutMs without a message a pull is over, and another consumer asked. */
const TRIES = 4;
/** The server lets go of a consumer that was left behind. */
const LEFT_BEHIND_MS = 10_000;
const NANOS = 1e6;
export const BETWEEN_TRIES_MS = 20;

/**
 * Reads the stream of a log. A position is a sequence of the stream, which all
 * topics share, so that numbers that lie apart tell nothing. What tells whether
 * records of a topic are gone behind a position, in this order:
 *
 *     the record at the position is there: the oldest go first, so none is gone
 *     the next record is at the next sequence
 *     else, if all of these hold, none is gone:
 *       age       the stream still has its messages from the position on
 *       trim      the last trim of the topic was not behind the position
 *       number    the topic has fewer records than it may have
 *       floor     the limits have not changed behind the position
 *
 * Where they do not hold there may have been none, and a gap is told all the same.
 */
export class StreamReader {
  readonly #wire: Wire;
  readonly #stream: string;
  readonly #epoch: string;
  readonly #timeoutMs: number;
  /** A copy that is behind may answer. */
  readonly #copies: boolean;
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
    this.#copies = info.config.num_replicas > 1;
  }

  place(topic: string): TopicSubjects {
    const [head, token] = [`${this.#stream}.${this.#epoch}`, tokenOf(topic)];
    return {
      subject: `${head}.log.${token}`,
      live: `${head}.live.${token}`,
      trim: `${head}.trim.${token}`,
      cursors: cursorsOf(this.#epoch, topic),
    };
  }

  async page(
    place: TopicSubjects,
    after: string | undefined,
    limits: Required<PageLimits>,
  ): Promise<JetStreamPage> {
    const position = after === undefined ? undefined : place.cursors.read(after);
    let got = await this.#fetch(place, position ?? 0, limits);
    if (after === undefined || (await this.#follows(place, position, got))) {
      return { items: got.entries, complete: got.complete };
    }
    let gap = got.entries[0]?.position;
    if (gap === undefined) {
      // First the end, then the records again: what comes between is behind the gap.
      const end = await this.end(place);
      got = await this.#fetch(place, Math.min(position ?? 0, end.position), limits);
      gap = got.entries[0]?.position ?? end.position + 1;
    }
    return { items: [gapAt(place, gap - 1), ...got.entries], complete: got.complete };
  }

  /** The last record; where there is none, the last message of the stream: what follows is behind it. */
  async end(place: TopicSubjects): Promise<TopicPosition> {
    const position =
      (await this.#last(place.subject))?.seq ?? (await this.state(place)).state.last_seq;
    return { position, cursor: place.cursors.write(position) };
  }

  /** Up to where a topic was trimmed, and which message says so. */
  async trimmed(place: TopicSubjects): Promise<{ upTo: number; seq: number }> {
    const marker = await this.#last(place.trim);
    if (marker === undefined) return { upTo: 0, seq: 0 };
    return { upTo: Number(Buffer.from(marker.data ?? "", "base64").toString()), seq: marker.seq };
  }

  /** Whether there is a message with this sequence. */
  async has(seq: number): Promise<boolean> {
    return (await this.#message({ seq })) !== undefined;
  }

  /** How the stream is, with the number of the topic's records. Throws where it is another stream. */
  async state(place?: TopicSubjects, offset = 0): Promise<StreamInfo> {
    const info = given(
      await this.#wire.api<StreamInfo>(`STREAM.INFO.${this.#stream}`, {
        subjects_filter: place?.subject ?? `${this.#stream}.${this.#epoch}.log.*`,
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

  async #follows(
    place: TopicSubjects,
    position: number | undefined,
    got: Fetched,
  ): Promise<boolean> {
    if (position === undefined) return false;
    if (got.held || got.entries[0]?.position === position + 1) return true;
    const { state, config } = await this.state(place);
    const count = state.subjects?.[place.subject] ?? 0;
    const most = config.max_msgs_per_subject;
    return (
      position <= state.last_seq &&
      state.first_seq <= position + 1 &&
      floorOf(config.description) <= position &&
      (most <= 0 || count < most) &&
      (await this.trimmed(place)).upTo <= position
    );
  }

  #last(subject: string) {
    return this.#message({ last_by_subj: subject });
  }

  /** A message as the leader has it. */
  async #message(query: { seq: number } | { last_by_subj: string }) {
    const answer = await this.#wire.api<{ message: { seq: number; data?: string } }>(
      `STREAM.MSG.GET.${this.#stream}`,
      query,
    );
    if (answer.error?.err_code === REFUSED.noMessage) return undefined;
    return given(answer).message;
  }

  /**
   * Records behind a position; none only where the leader has none. What one
   * consumer did not give is asked of the next, which begins at the position
   * again: what was removed meanwhile is not passed over. Where it gave some
   * those are the page.
   */
  async #fetch(
    place: TopicSubjects,
    position: number,
    limits: Required<PageLimits>,
  ): Promise<Fetched> {
    const giveUp = performance.now() + this.#timeoutMs;
    for (;;) {
      const got = await this.#inTurn(() => this.#fetchOnce(place, position, limits));
      if (await this.#passedOver(got)) {
        return { ...got, entries: got.entries.slice(0, 1), complete: false };
      }
      if (!got.unsure && !(got.complete && this.#copies)) return got;
      const last = await this.#last(place.subject);
      const complete = last === undefined || last.seq <= (got.entries.at(-1)?.position ?? position);
      if (complete || got.entries.length > 0) return { ...got, complete };
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
   * Runs the work when there is a place for it. Where it fails, the work fails with it that has waited for half of
   * timeoutMs or longer: where nothing is answered it would wait as long again for the same.
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

  /** Whether some may have been removed while they were read: the oldest go first, so not while the first is there. */
  async #passedOver({ entries }: Fetched): Promise<boolean> {
    const [first, last] = [entries[0], entries.at(-1)];
    if (first === undefined || last === undefined) return false;
    const areNeighbours = last.position - first.position < entries.length;
    return !areNeighbours && !(await this.has(first.position));
  }

  /** By a consumer of its own, which lives for one page. */
  async #fetchOnce(
    place: TopicSubjects,
    position: number,
    limits: Required<PageLimits>,
  ): Promise<Pulled> {
    const name = randomBytes(9).toString("hex");
    const consumer = given(
      await this.#wire.api<ConsumerInfo>(
        `CONSUMER.CREATE.${this.#stream}.${name}.${place.subject}`,
        {
          stream_name: this.#stream,
          config: {
            name,
            filter_subject: place.subject,
            deliver_policy: "by_start_sequence",
            opt_start_seq: Math.max(position, 1),
            ack_policy: "none",
            replay_policy: "instant",
            mem_storage: true,
            num_replicas: 1,
            inactive_threshold: LEFT_BEHIND_MS * NANOS,
          },
        },
      ),
    );
    try {
      return await this.#pull({ name, pending: consumer.num_pending }, { place, position }, limits);
    } finally {
      this.#wire.tell(`CONSUMER.DELETE.${this.#stream}.${name}`);
    }
  }

  async #pull(
    consumer: { name: string; pending: number },
    { place, position }: { place: TopicSubjects; position: number },
    { records, bytes }: Required<PageLimits>,
  ): Promise<Pulled> {
    let { pending } = consumer;
    const entries: TopicRecord[] = [];
    let held = false;
    let size = 0;
    let timeMs = 0;
    let unsure = false;
    const giveUp = performance.now() + this.#timeoutMs;
    const quietMs = this.#timeoutMs / TRIES;
    // A server of 2.9 lets go of a pull in silence when it expires between two records: never before the client does.
    const expires = Math.ceil(this.#timeoutMs * NANOS);
    const next = `$JS.API.CONSUMER.MSG.NEXT.${this.#stream}.${consumer.name}`;
    while (pending > 0 && !unsure && entries.length < records && size < bytes) {
      const fits = size === 0 ? FIRST_BATCH : Math.ceil(((bytes - size) * entries.length) / size);
      // One more for the record at the position, which does not count.
      const wanted = Math.min(records - entries.length + 1, Math.max(fits, 1), LARGEST_BATCH);
      const batch = Math.min(pending, wanted);
      let came = 0;
      let isNew = false;
      // It is told at once where what was counted is gone, unless that is all there was.
      const pull = JSON.stringify({ batch, expires, no_wait: true });
      const answered = await this.#wire.collect(
        { subject: next, data: pull },
        quietMs,
        (message) => {
          const status = statusOf(message);
          if (status !== 0) {
            if (status === 503 && performance.now() < giveUp) {
              // In a cluster the word of a new consumer may come later than the answer.
              isNew = true;
              return true;
            }
            if (status !== 404 && status !== 408) throw brokenOff(message);
            // What it counted is gone by now, or it is slow.
            unsure = true;
            return true;
          }
          const delivered = deliveredOf(message.reply as string);
          pending = delivered.pending;
          timeMs = Math.max(timeMs, writtenMs(message.headers) ?? delivered.timeMs);
          if (delivered.seq === position) held = true;
          else if (entries.length < records && size < bytes) {
            entries.push(entryOf(place, delivered.seq, { data: message.data, timeMs }));
            size += message.data.length;
          } else {
            // It did not fit: there is more.
            pending = Math.max(pending, 1);
            return ++came >= batch;
          }
          return ++came >= batch || pending === 0;
        },
      );
      unsure ||= !answered;
      if (isNew) await sleep(BETWEEN_TRIES_MS, undefined);
    }
    return { held, entries, complete: pending === 0, unsure };
  }
}

export function entryOf(
  place: TopicSubjects,
  position: number,
  { data, timeMs }: Pick<TopicRecord, "data" | "timeMs">,
): TopicRecord {
  // What the client of NATS gives is a Buffer or none, as the pieces came.
  const plain = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const cursor = place.cursors.write(position);
  return { kind: "record", position, cursor, data: plain, timeMs };
}

/** When a record was written, where the server does not say with each when it was stored. */
export const WRITTEN = "Hawser-Time";

export function writtenMs(headers: MsgHdrs | undefined): number | undefined {
  return Number(headers?.get(WRITTEN)) || undefined;
}

function gapAt(place: TopicSubjects, position: number): TopicGap {
  return { kind: "gap", position, cursor: place.cursors.write(position) };
}

/** Throws where it was refused. */
export function given<T>(answer: T & { error?: Refusal }): T {
  if (answer.error !== undefined) throw refused(answer.error);
  return answer;
}

/** What stands for a message where there is none: 404, 408; 503: nobody is there. 0: it is a message. */
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
 * What a message of a consumer has in its reply subject:
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
