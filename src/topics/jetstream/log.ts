import { createHash } from "node:crypto";
import { Code, type ConnectError } from "@connectrpc/connect";
import type { StreamInfo } from "@nats-io/jetstream";
import type { MsgHdrs } from "@nats-io/transport-node";
import { asFailure, failure } from "../../failure.ts";
import { sleep } from "../../flow/wait.ts";
import type { IncidentKind, Incidents } from "../incidents.ts";
import {
  type Appended,
  type NewRecord,
  PAGE,
  type PageLimits,
  type TopicItem,
  type TopicLog,
  type TopicPosition,
  type TopicsPage,
} from "../log.ts";
import { pageLimitsOf, topicsPageOf } from "../page-limits.ts";
import { checkRecords } from "../record.ts";
import { checkTopic } from "../topic.ts";
import { compareTopics, namesOf } from "../topic-order.ts";
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
import { TopicList } from "./topic-list.ts";
import { closed, type Packages, type Wire } from "./wire.ts";

/**
 *     append ──> a message for each record ──> the stream
 *     page   <── a consumer for each page <──── the stream
 *     read   <── pages, then the records that the server republishes
 */
export class JetStreamLog implements TopicLog {
  readonly epoch: string;
  readonly #nats: Packages;
  readonly #wire: Wire;
  readonly #reader: StreamReader;
  readonly #source: ReadSource;
  readonly #stream: string;
  readonly #republishesTimes: boolean;
  readonly #timeoutMs: number;
  readonly #incidents: Incidents;
  /** Aborts, with the reason, when the log can no longer be used. */
  readonly #ended = new AbortController();
  readonly #reconnectListener: Disposable;
  readonly #list = new TopicList();
  #closing: Promise<void> | undefined;

  constructor(
    { nats, wire }: { nats: Packages; wire: Wire },
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
    this.#nats = nats;
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
    this.#reconnectListener = wire.onReconnect(() => this.#verify());
  }

  async append(topic: string, records: readonly NewRecord[]): Promise<Appended[]> {
    const subjects = this.#openTopic(topic);
    checkRecords(records);
    for (const { data } of records) this.#checkSize(data);
    const outcomes = await Promise.allSettled(
      records.map((record) => this.#store({ subjects, topic }, record)),
    );
    this.#list.add(topic);
    const errors = outcomes.flatMap((o) => (o.status === "rejected" ? asFailure(o.reason) : []));
    for (const error of errors) this.#incidents.report("append", error);
    // If the outcome of one record is unknown (UNAVAILABLE), throw that error: the others would
    // claim that nothing was stored.
    const unsure = errors.find(({ code }) => code === Code.Unavailable);
    const error = unsure ?? errors[0];
    if (error === undefined) {
      this.#incidents.ended("append", `records are stored in the stream ${this.#stream} again`);
      return outcomes.map((outcome) => valueOrThrow(outcome));
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
    const page = this.#reader.page(this.#openTopic(topic), after, pageLimitsOf(limits));
    return (await this.#reportFailure("read", page)).items;
  }

  async *read(
    topic: string,
    after: string | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<TopicItem, never> {
    const subjects = this.#openTopic(topic);
    return yield* readTopic(this.#source, { subjects, after }, signal);
  }

  async oldest(topic: string): Promise<TopicPosition> {
    return this.#reportFailure("read", this.#oldest(this.#openTopic(topic)));
  }

  async #oldest(subjects: TopicSubjects): Promise<TopicPosition> {
    // Read the end first. If the page is then empty, a record appended between the two calls lies
    // after that end. In the other order it would be skipped.
    const end = await this.#reader.end(subjects);
    const { items } = await this.#reader.page(subjects, undefined, { records: 1, bytes: 1 });
    if (items[0] === undefined) return end;
    const position = items[0].position - 1;
    return { position, cursor: subjects.cursors.write(position) };
  }

  async end(topic: string): Promise<TopicPosition> {
    return this.#reportFailure("read", this.#reader.end(this.#openTopic(topic)));
  }

  async trim(topic: string, upTo: string): Promise<void> {
    const subjects = this.#openTopic(topic);
    const position = subjects.cursors.read(upTo);
    if (position !== undefined) await this.#reportFailure("append", this.#trim(subjects, position));
  }

  async #trim(subjects: TopicSubjects, position: number): Promise<void> {
    const last = Math.min(position, (await this.#reader.end(subjects)).position);
    // Store the marker before purging: a reader that finds records missing then reports a gap.
    await this.#writeTrim(subjects, last);
    const purge = { filter: subjects.records, seq: last + 1 };
    orThrow(await this.#wire.api(`STREAM.PURGE.${this.#stream}`, purge));
  }

  async topics(prefix = "", page: TopicsPage = {}): Promise<string[]> {
    this.#throwIfEnded();
    const wanted = { prefix, ...topicsPageOf(prefix, page) };
    const isPage = wanted.limit < Number.POSITIVE_INFINITY;
    const listed = isPage ? this.#list.get(() => this.#allTopics()) : this.#allTopics();
    return namesOf(await this.#reportFailure("read", listed), wanted);
  }

  async #allTopics(): Promise<string[]> {
    const head = `${this.#stream}.${this.epoch}.log.`;
    const names: string[] = [];
    for (let offset = 0; ; ) {
      const { state, total = 0 } = await this.#reader.state(undefined, offset);
      const subjects = Object.keys(state.subjects ?? {});
      names.push(...subjects.map((subject) => topicOf(subject.slice(head.length))));
      offset += subjects.length;
      if (subjects.length === 0 || offset >= total) break;
    }
    return names.sort(compareTopics);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#ended.abort(closed());
    this.#reconnectListener[Symbol.dispose]();
    await this.#wire.close();
  }

  /**
   * Stores a record. If JetStream reports a duplicate, checks that the earlier record still exists;
   * if it was removed, stores this one under a new message id.
   *
   * @param replaced stream sequence of the removed record that this one replaces; 0 if none
   */
  async #store(
    at: { subjects: TopicSubjects; topic: string },
    { data, id }: NewRecord,
    replaced = 0,
  ): Promise<Appended> {
    let headers: MsgHdrs | undefined;
    if (!this.#republishesTimes) {
      headers = this.#nats.transport.headers();
      headers.set(TIME_HEADER, String(Date.now()));
    }
    if (id !== undefined) {
      headers ??= this.#nats.transport.headers();
      headers.set("Nats-Msg-Id", messageId(at.topic, id, replaced));
    }
    const { seq, duplicate } = await this.#publish(at.subjects.records, data, headers);
    // JetStream remembers the message id longer than the record. To store the record again after a
    // trim or expiry, use another id.
    if (duplicate && !(await this.#reader.has(seq))) {
      return this.#store(at, { data, id }, seq);
    }
    return { cursor: at.subjects.cursors.write(seq), repeated: duplicate === true };
  }

  async #publish(subject: string, data: Uint8Array, headers?: MsgHdrs): Promise<PublishAnswer> {
    const giveUpAtMs = performance.now() + this.#timeoutMs;
    for (;;) {
      const answer = await this.#wire.request(subject, data, headers);
      const stored = answer.json<PublishAnswer & { error?: Refusal }>();
      const isInProcess = stored.error?.err_code === REFUSED.inProcess;
      if (!isInProcess || performance.now() > giveUpAtMs) return orThrow(stored);
      // Another append of the same record has not reached all replicas. When it has, the answer
      // contains its sequence.
      await sleep(BETWEEN_TRIES_MS, undefined);
    }
  }

  /**
   * Stores a trim marker with the position up to which a topic is trimmed, unless the stored marker
   * is already there or further.
   */
  async #writeTrim(subjects: TopicSubjects, upTo: number): Promise<void> {
    for (;;) {
      const before = await this.#reader.trimmed(subjects);
      if (before.upTo >= upTo) return;
      const headers = this.#nats.transport.headers();
      headers.set("Nats-Rollup", "sub");
      headers.set("Nats-Expected-Last-Subject-Sequence", String(before.seq));
      const answer = await this.#wire.request(subjects.trim, String(upTo), headers);
      const { error } = answer.json<{ error?: Refusal }>();
      if (error === undefined) return;
      // Another process stored a trim marker since the previous one was read.
      if (error.err_code === REFUSED.wrongSequence) continue;
      const failed = refused(error);
      if (failed.code !== Code.ResourceExhausted) throw failed;
      return this.#raiseFloor(upTo);
    }
  }

  /**
   * If the stream is too full to store the trim marker (exactly when trimming is needed), raises
   * the floor in the stream's description, which holds for all topics.
   */
  async #raiseFloor(floor: number): Promise<void> {
    const { config } = await this.#reader.state();
    if (floorOf(config.description) >= floor) return;
    const raised = { ...config, description: describe(floor) };
    orThrow(await this.#wire.api(`STREAM.UPDATE.${config.name}`, raised));
  }

  /** Ends the log if its stream was deleted and created again. Other errors are ignored here. */
  #verify(): void {
    this.#reader.state().catch((error: ConnectError) => {
      if (error.code !== Code.FailedPrecondition) return;
      this.#ended.abort(this.#incidents.report("connection", error));
    });
  }

  /** Passes the promise on; reports its failure to the operator. */
  async #reportFailure<T>(kind: IncidentKind, work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      throw this.#incidents.report(kind, error);
    }
  }

  #openTopic(topic: string): TopicSubjects {
    this.#throwIfEnded();
    checkTopic(topic);
    return this.#reader.subjects(topic);
  }

  #throwIfEnded(): void {
    if (this.#ended.signal.aborted) throw this.#ended.signal.reason;
  }

  #checkSize(data: Uint8Array): void {
    const maxBytes = (this.#wire.connection.info?.max_payload ?? Infinity) - HEADERS_BYTES;
    if (data.length <= maxBytes) return;
    throw failure(
      Code.ResourceExhausted,
      `record of ${data.length} B is over the ${maxBytes} B that fit into max_payload of the NATS server: append smaller records or raise max_payload`,
    );
  }
}

/** JetStream's acknowledgement of a record. */
interface PublishAnswer {
  readonly seq: number;
  readonly duplicate?: boolean;
}

/** The part of max_payload that is kept for the headers of a record. */
const HEADERS_BYTES = 128;

/**
 * @param replaced stream sequence of the removed record that this one replaces (same producer and
 * sequence); 0 if none
 */
function messageId(
  topic: string,
  { producer, sequence }: NonNullable<NewRecord["id"]>,
  replaced: number,
): string {
  const key = JSON.stringify([topic, producer, String(sequence), replaced]);
  return createHash("sha256").update(key).digest("base64url");
}

function valueOrThrow<T>(outcome: PromiseSettledResult<T>): T {
  if (outcome.status === "rejected") throw outcome.reason;
  return outcome.value;
}
