import { createHash } from "node:crypto";
import { Code, type ConnectError } from "@connectrpc/connect";
import type { StreamInfo } from "@nats-io/jetstream";
import type { MsgHdrs } from "@nats-io/transport-node";
import { asFailure, failure } from "../../failure.ts";
import { sleep } from "../../flow/wait.ts";
import { text } from "../../options.ts";
import type { IncidentKind, Incidents } from "../incidents.ts";
import {
  type Appended,
  type NewRecord,
  PAGE,
  type PageLimits,
  type TopicItem,
  type TopicLog,
  type TopicPosition,
} from "../log.ts";
import { pageLimitsOf } from "../page-limits.ts";
import { checkRecords } from "../record.ts";
import { checkTopic, compareTopics } from "../topic.ts";
import { LiveTopics } from "./live.ts";
import { type ReadSource, readTopic } from "./read.ts";
import { TIME_HEADER } from "./record.ts";
import { orThrow, REFUSED, type Refusal, refused } from "./refusal.ts";
import {
  describe,
  epochOf,
  floorOf,
  republishesTimes,
  type TopicSubjects,
  topicOf,
} from "./stream.ts";
import { BETWEEN_TRIES_MS, StreamReader } from "./stream-reader.ts";
import { closed, type Packages, type Wire } from "./wire.ts";

/**
 *     append ──> a message for each record ──> the stream
 *     page   <── a consumer for each page <──── the stream
 *     read   <── pages, then what the server publishes again
 */
export class JetStreamLog implements TopicLog {
  readonly epoch: string;
  readonly #npm: Packages;
  readonly #wire: Wire;
  readonly #reader: StreamReader;
  readonly #source: ReadSource;
  readonly #stream: string;
  readonly #republishesTimes: boolean;
  readonly #timeoutMs: number;
  readonly #incidents: Incidents;
  /** Aborts, with the reason, when the log cannot be used any more. */
  readonly #ended = new AbortController();
  readonly #reconnecting: Disposable;
  #closing: Promise<void> | undefined;

  constructor(
    { npm, wire }: { npm: Packages; wire: Wire },
    info: StreamInfo,
    {
      timeoutMs,
      silenceMs,
      incidents,
    }: { timeoutMs: number; silenceMs: number; incidents: Incidents },
  ) {
    this.#stream = info.config.name;
    this.epoch = epochOf(info) as string;
    const reader = new StreamReader(wire, info, { epoch: this.epoch, timeoutMs });
    this.#npm = npm;
    this.#wire = wire;
    this.#reader = reader;
    this.#source = {
      wire,
      live: new LiveTopics(wire),
      ended: this.#ended.signal,
      silenceMs,
      page: (subjects, after) => this.#reportFailure("read", reader.page(subjects, after, PAGE)),
      end: (subjects) => this.#reportFailure("read", reader.end(subjects)),
    };
    this.#timeoutMs = timeoutMs;
    this.#incidents = incidents;
    this.#republishesTimes = republishesTimes(wire.connection.info?.version ?? "0");
    this.#reconnecting = wire.onReconnect(() => this.#verify());
  }

  async append(topic: string, records: readonly NewRecord[]): Promise<Appended[]> {
    const subjects = this.#subjects(topic);
    checkRecords(records);
    for (const { data } of records) this.#checkSize(data);
    const outcomes = await Promise.allSettled(
      records.map((record) => this.#store({ subjects, topic }, record)),
    );
    const errors = outcomes.flatMap((o) => (o.status === "rejected" ? asFailure(o.reason) : []));
    for (const error of errors) this.#incidents.report("append", error);
    // Where the error of a record is UNAVAILABLE, so is the append's: any other would say that nothing was stored.
    const unsure = errors.find(({ code }) => code === Code.Unavailable);
    const error = unsure ?? errors[0];
    if (error === undefined) {
      this.#incidents.ended("append", `records are stored in the stream ${this.#stream} again`);
      return outcomes.map((outcome) => settled(outcome));
    }
    if (unsure !== undefined) this.#verify();
    const stored = outcomes.filter((o) => o.status === "fulfilled" && !o.value.repeated).length;
    if (stored === 0) throw error;
    throw failure(
      Code.Unavailable,
      `${stored} of ${records.length} records were stored; repeat all with the same producers and sequences: ${error.rawMessage}`,
      error,
    );
  }

  async page(
    topic: string,
    after: string | undefined,
    limits: PageLimits = {},
  ): Promise<TopicItem[]> {
    const page = this.#reader.page(this.#subjects(topic), after, pageLimitsOf(limits));
    return (await this.#reportFailure("read", page)).items;
  }

  async *read(
    topic: string,
    after: string | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<TopicItem, never> {
    const subjects = this.#subjects(topic);
    return yield* readTopic(this.#source, { subjects, after }, signal);
  }

  async oldest(topic: string): Promise<TopicPosition> {
    return this.#reportFailure("read", this.#oldest(this.#subjects(topic)));
  }

  async #oldest(subjects: TopicSubjects): Promise<TopicPosition> {
    // First the end, then the records: a record that is stored in between comes after the end.
    const end = await this.#reader.end(subjects);
    const { items } = await this.#reader.page(subjects, undefined, { records: 1, bytes: 1 });
    if (items[0] === undefined) return end;
    const position = items[0].position - 1;
    return { position, cursor: subjects.cursors.write(position) };
  }

  async end(topic: string): Promise<TopicPosition> {
    return this.#reportFailure("read", this.#reader.end(this.#subjects(topic)));
  }

  async trim(topic: string, upTo: string): Promise<void> {
    const subjects = this.#subjects(topic);
    const position = subjects.cursors.read(upTo);
    if (position !== undefined) await this.#reportFailure("append", this.#trim(subjects, position));
  }

  async #trim(subjects: TopicSubjects, position: number): Promise<void> {
    const last = Math.min(position, (await this.#reader.end(subjects)).position);
    // The trim is stored before it is done: then a reader finds the gap whenever it finds the records gone.
    await this.#writeTrim(subjects, last);
    const purge = { filter: subjects.records, seq: last + 1 };
    orThrow(await this.#wire.api(`STREAM.PURGE.${this.#stream}`, purge));
  }

  async topics(prefix = ""): Promise<string[]> {
    this.#check();
    text(prefix, { of: "topics", option: "prefix" });
    return this.#reportFailure("read", this.#topics(prefix));
  }

  async #topics(prefix: string): Promise<string[]> {
    const head = `${this.#stream}.${this.epoch}.log.`;
    const names: string[] = [];
    for (let offset = 0; ; ) {
      const { state, total = 0 } = await this.#reader.state(undefined, offset);
      const subjects = Object.keys(state.subjects ?? {});
      names.push(...subjects.map((subject) => topicOf(subject.slice(head.length))));
      offset += subjects.length;
      if (subjects.length === 0 || offset >= total) break;
    }
    return names.filter((name) => name.startsWith(prefix)).sort(compareTopics);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#ended.abort(closed());
    this.#reconnecting[Symbol.dispose]();
    await this.#wire.close();
  }

  /**
   * Stores a record, unless one with its producer and sequence was stored and is kept.
   *
   * @param after as in messageId()
   */
  async #store(
    at: { subjects: TopicSubjects; topic: string },
    { data, id }: NewRecord,
    after = 0,
  ): Promise<Appended> {
    let headers: MsgHdrs | undefined;
    if (!this.#republishesTimes) {
      headers = this.#npm.transport.headers();
      headers.set(TIME_HEADER, String(Date.now()));
    }
    if (id !== undefined) {
      headers ??= this.#npm.transport.headers();
      headers.set("Nats-Msg-Id", messageId(at.topic, id, after));
    }
    const { seq, duplicate } = await this.#publish(at.subjects.records, data, headers);
    // JetStream keeps an id longer than a record that is trimmed or past the retention: then another id is used.
    if (duplicate && !(await this.#reader.has(seq))) {
      return this.#store(at, { data, id }, seq);
    }
    return { cursor: at.subjects.cursors.write(seq), repeated: duplicate === true };
  }

  async #publish(subject: string, data: Uint8Array, headers?: MsgHdrs): Promise<PublishAnswer> {
    const giveUpMs = performance.now() + this.#timeoutMs;
    for (;;) {
      const answer = await this.#wire.request(subject, data, headers);
      const stored = answer.json<PublishAnswer & { error?: Refusal }>();
      const isInProcess = stored.error?.err_code === REFUSED.inProcess;
      if (!isInProcess || performance.now() > giveUpMs) return orThrow(stored);
      // Another append of the same record is on its way to the replicas: the next answer will say where it is.
      await sleep(BETWEEN_TRIES_MS, undefined);
    }
  }

  /** Stores up to where a topic is trimmed, unless it was trimmed further. */
  async #writeTrim(subjects: TopicSubjects, upTo: number): Promise<void> {
    for (;;) {
      const before = await this.#reader.trimmed(subjects);
      if (before.upTo >= upTo) return;
      const headers = this.#npm.transport.headers();
      headers.set("Nats-Rollup", "sub");
      headers.set("Nats-Expected-Last-Subject-Sequence", String(before.seq));
      const answer = await this.#wire.request(subjects.trim, String(upTo), headers);
      const { error } = answer.json<{ error?: Refusal }>();
      if (error === undefined) return;
      // Another process trims the topic at the same time.
      if (error.err_code === REFUSED.wrongSequence) continue;
      const failed = refused(error);
      if (failed.code !== Code.ResourceExhausted) throw failed;
      return this.#raiseFloor(upTo);
    }
  }

  /**
   * For a stream that is full, where no trim can be stored, though it is needed most: raises the
   * floor of all topics.
   */
  async #raiseFloor(floor: number): Promise<void> {
    const { config } = await this.#reader.state();
    if (floorOf(config.description) >= floor) return;
    const raised = { ...config, description: describe(floor) };
    orThrow(await this.#wire.api(`STREAM.UPDATE.${config.name}`, raised));
  }

  /** Ends the log where its stream has become another one. */
  #verify(): void {
    this.#reader.state().catch((error: ConnectError) => {
      if (error.code !== Code.FailedPrecondition) return;
      this.#ended.abort(this.#incidents.report("connection", error));
    });
  }

  /** Waits for work of the log; where it fails the operator is told. */
  async #reportFailure<T>(kind: IncidentKind, work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      throw this.#incidents.report(kind, error);
    }
  }

  #subjects(topic: string): TopicSubjects {
    this.#check();
    checkTopic(topic);
    return this.#reader.subjects(topic);
  }

  #check(): void {
    if (this.#ended.signal.aborted) throw this.#ended.signal.reason;
  }

  #checkSize(data: Uint8Array): void {
    const maxBytes = (this.#wire.connection.info?.max_payload ?? Infinity) - HEADERS_BYTES;
    if (data.length <= maxBytes) return;
    throw failure(
      Code.ResourceExhausted,
      `record of ${data.length} B is over the ${maxBytes} B that fit into max_payload of the NATS server: append smaller ones or raise it`,
    );
  }
}

/** How JetStream acknowledges a record. */
interface PublishAnswer {
  readonly seq: number;
  readonly duplicate?: boolean;
}

/** What max_payload must leave for the headers of a record. */
const HEADERS_BYTES = 128;

/**
 * @param after the sequence, in the stream, of a record with the same producer and sequence that is
 * gone; 0: of none
 */
function messageId(
  topic: string,
  { producer, sequence }: NonNullable<NewRecord["id"]>,
  after: number,
): string {
  const whole = JSON.stringify([topic, producer, String(sequence), after]);
  return createHash("sha256").update(whole).digest("base64url");
}

function settled<T>(outcome: PromiseSettledResult<T>): T {
  if (outcome.status === "rejected") throw outcome.reason;
  return outcome.value;
}
