/** The JetStream entry of Hawser: `import { jetStreamLog } from "hawser/topics/jetstream"`. */
import { createHash } from "node:crypto";
import { Code, type ConnectError } from "@connectrpc/connect";
import type { StreamInfo } from "@nats-io/jetstream";
import type { MsgHdrs, NodeConnectionOptions } from "@nats-io/transport-node";
import { asFailure, failure } from "../../failure.ts";
import { sleep } from "../../flow/wait.ts";
import type { Logger } from "../../observe/logger.ts";
import {
  anObject,
  type Checks,
  checkOptions,
  either,
  listOf,
  needed,
  optionsOf,
  positive,
  positiveOrInfinite,
  someText,
  text,
  whole,
  withFunctions,
} from "../../options.ts";
import { type IncidentKind, Incidents } from "../incidents.ts";
import {
  type Appended,
  type NewRecord,
  PAGE,
  type PageLimits,
  type Retention,
  type TopicItem,
  type TopicLog,
  type TopicPosition,
} from "../log.ts";
import { pageLimitsOf } from "../page-limits.ts";
import { checkRecords } from "../record.ts";
import { keptOf, retentionChecks } from "../retention.ts";
import { checkTopic, compareTopics } from "../topic.ts";
import { LiveTopics } from "./live.ts";
import { BETWEEN_TRIES_MS, given, StreamReader, type TopicSubjects, WRITTEN } from "./page.ts";
import {
  checkName,
  checkVersion,
  describe,
  epochOf,
  floorOf,
  notOpened,
  openStream,
  type StreamOptions,
  tellsTimes,
  topicOf,
} from "./stream.ts";
import { type PageSource, readTail } from "./tail.ts";
import { closed, type Packages, packages, REFUSED, type Refusal, refused, Wire } from "./wire.ts";

export interface JetStreamLogOptions {
  /** Where NATS is: "nats://host:port" or "host:port", or several of one cluster. */
  readonly servers: string | readonly string[];
  /**
   * The stream that the log has for itself. Everybody who names the same one
   * shares the log, and the last who opens it says what it keeps. Default: "hawser".
   */
  readonly stream?: string;
  /**
   * What each topic keeps, by age and number of records. JetStream cannot count
   * the bytes of a topic. With replicas each server forgets by its own clock:
   * a record that is about as old as ageMs may be there on one, and not on another.
   */
  readonly retention?: Pick<Retention, "ageMs" | "records">;
  /** The largest size of the stream with all its topics; past it, appends are RESOURCE_EXHAUSTED. Default: none. */
  readonly maxBytes?: number;
  /** On how many servers each record is kept: 1, 3 or 5. Default: 1. */
  readonly replicas?: number;
  /**
   * For how long a repeated producer and sequence is recognised, counted from
   * the first time. The server holds some 100 B for each record of that time.
   * Default: 120,000; not more than retention.ageMs.
   */
  readonly dedupeMs?: number;
  /** So long a call waits for NATS before it is UNAVAILABLE; one that meets a lost connection does not wait. Default: 4,000. */
  readonly timeoutMs?: number;
  /**
   * So long a reader hears nothing before it asks the server whether there is
   * nothing: what is published live may be lost within a cluster. Default: 15,000.
   */
  readonly silenceMs?: number;
  /**
   * Told what the clients of a server must not read: where NATS is away, has no
   * room or refuses, and the remedy; once when it begins, at most once a minute
   * while it lasts, once when it is over. Default: `console`.
   */
  readonly logger?: Logger;
  /** More of the connection: tls, user, pass, token, authenticator … */
  readonly connection?: Omit<NodeConnectionOptions, "servers">;
}

const { ageMs, records } = retentionChecks;

const checks = {
  servers: needed(either((value) => typeof value === "string", listOf(someText))),
  stream: text,
  retention(value, place) {
    if (Object.hasOwn(Object(value), "bytes")) {
      throw failure(
        Code.InvalidArgument,
        "jetStreamLog: JetStream cannot limit the bytes of a topic: give retention.records, or maxBytes for all topics",
      );
    }
    optionsOf({ ageMs, records })(value, place);
  },
  maxBytes: positiveOrInfinite,
  replicas: whole(1, 5),
  dedupeMs: positive,
  timeoutMs: positive,
  silenceMs: positive,
  connection: anObject,
  logger: withFunctions("error", "warn"),
} satisfies Checks<JetStreamLogOptions>;

/**
 * A log in one stream of NATS JetStream (server 2.9.4 or newer), which several
 * processes share; @nats-io/transport-node and @nats-io/jetstream must be
 * installed. An acknowledged record is as durable as the stream: with one
 * replica it outlives a crash of the server, not one of its machine within the
 * server's sync_interval (2 minutes, unless configured).
 *
 * It differs from other logs in this:
 *
 * - Records of one append() lie together among the appends of this process;
 *   those of another may come between. Where an append() is UNAVAILABLE some of
 *   its records may be stored, as a rule the first ones. The same again, with
 *   the same producers and sequences, stores those that are missing, behind
 *   what is there by then; without them it stores all a second time.
 * - What was stored before is recognised for `dedupeMs`.
 * - With a server before 2.10 the times of records are those of the process
 *   that appended them.
 * - A cursor whose record is gone may give a gap where nothing was lost (see
 *   StreamReader): a gap more, never one too few.
 *
 * Readers outlive a server that is away; appends are UNAVAILABLE meanwhile.
 * Rejects with INVALID_ARGUMENT for an option that is unknown or not what it must
 * be; with FAILED_PRECONDITION where the packages are missing, the server
 * is too old, or the stream cannot be as it must.
 */
export async function jetStreamLog(options: JetStreamLogOptions): Promise<TopicLog> {
  checkOptions("jetStreamLog", options, checks);
  const { servers, stream = "hawser", connection, logger = console } = options;
  const { timeoutMs = 4_000, silenceMs = 15_000 } = options;
  const incidents = new Incidents(logger);
  checkName(stream);
  const settings: StreamOptions = {
    name: stream,
    kept: keptOf(options.retention),
    replicas: options.replicas ?? 1,
    maxBytes: options.maxBytes ?? Infinity,
    dedupeMs: options.dedupeMs ?? 120_000,
  };
  const npm = await packages();
  const addresses = { ...connection, servers: [servers].flat() };
  const wire = await Wire.open(npm, addresses, { timeoutMs, incidents });
  try {
    checkVersion(wire.connection.info?.version ?? "0");
    const manager = await npm.jetstream.jetstreamManager(wire.connection, { timeout: timeoutMs });
    const info = await openStream(manager, settings);
    return new JetStreamLog({ npm, wire }, info, { timeoutMs, silenceMs, incidents });
  } catch (error) {
    await wire.close();
    throw notOpened(error);
  }
}

class JetStreamLog implements TopicLog {
  readonly epoch: string;
  readonly #npm: Packages;
  readonly #wire: Wire;
  readonly #reader: StreamReader;
  readonly #source: PageSource;
  readonly #stream: string;
  readonly #tellsTimes: boolean;
  readonly #timeoutMs: number;
  readonly #incidents: Incidents;
  /** Aborts with why the log cannot be used any more. */
  readonly #over = new AbortController();
  readonly #following: Disposable;
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
      over: this.#over.signal,
      silenceMs,
      page: (place, after) => this.#told("read", reader.page(place, after, PAGE)),
      end: (place) => this.#told("read", reader.end(place)),
    };
    this.#timeoutMs = timeoutMs;
    this.#incidents = incidents;
    this.#tellsTimes = tellsTimes(wire.connection.info?.version ?? "0");
    this.#following = wire.onAgain(() => this.#verify());
  }

  async append(topic: string, records: readonly NewRecord[]): Promise<Appended[]> {
    const place = this.#place(topic);
    checkRecords(records);
    for (const { data } of records) this.#checkSize(data);
    const outcomes = await Promise.allSettled(
      records.map((record) => this.#store({ place, topic }, record)),
    );
    const errors = outcomes.flatMap((o) => (o.status === "rejected" ? asFailure(o.reason) : []));
    for (const error of errors) this.#incidents.report("append", error);
    // Where one cannot tell, none of the others can say that nothing was stored.
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
    const page = this.#reader.page(this.#place(topic), after, pageLimitsOf(limits));
    return (await this.#told("read", page)).items;
  }

  async *read(
    topic: string,
    after: string | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<TopicItem, never> {
    const place = this.#place(topic);
    return yield* readTail(this.#source, { place, after }, signal);
  }

  async oldest(topic: string): Promise<TopicPosition> {
    return this.#told("read", this.#oldest(this.#place(topic)));
  }

  async #oldest(place: TopicSubjects): Promise<TopicPosition> {
    // In this order: what comes between the two is behind the end, and seen.
    const end = await this.#reader.end(place);
    const { items } = await this.#reader.page(place, undefined, { records: 1, bytes: 1 });
    if (items[0] === undefined) return end;
    const position = items[0].position - 1;
    return { position, cursor: place.cursors.write(position) };
  }

  async end(topic: string): Promise<TopicPosition> {
    return this.#told("read", this.#reader.end(this.#place(topic)));
  }

  async trim(topic: string, upTo: string): Promise<void> {
    const place = this.#place(topic);
    const position = place.cursors.read(upTo);
    if (position !== undefined) await this.#told("append", this.#trim(place, position));
  }

  async #trim(place: TopicSubjects, position: number): Promise<void> {
    const last = Math.min(position, (await this.#reader.end(place)).position);
    // First it is written down, then done: nobody takes what is gone for what never was.
    await this.#mark(place, last);
    const purge = { filter: place.subject, seq: last + 1 };
    given(await this.#wire.api(`STREAM.PURGE.${this.#stream}`, purge));
  }

  async topics(prefix = ""): Promise<string[]> {
    this.#check();
    text(prefix, { of: "topics", option: "prefix" });
    return this.#told("read", this.#topics(prefix));
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
    this.#over.abort(closed());
    this.#following[Symbol.dispose]();
    await this.#wire.close();
  }

  /** Stores a record, unless it is there: then it is asked for whether it still is. */
  async #store(
    at: { place: TopicSubjects; topic: string },
    { data, id }: NewRecord,
    after = 0,
  ): Promise<Appended> {
    let headers: MsgHdrs | undefined;
    if (!this.#tellsTimes) {
      headers = this.#npm.transport.headers();
      headers.set(WRITTEN, String(Date.now()));
    }
    if (id !== undefined) {
      headers ??= this.#npm.transport.headers();
      headers.set("Nats-Msg-Id", messageId(at.topic, id, after));
    }
    const { seq, duplicate } = await this.#publish(at.place.subject, data, headers);
    // Its id outlives a record that was trimmed or is past the retention: the next has an id of its own.
    if (duplicate && !(await this.#reader.has(seq))) {
      return this.#store(at, { data, id }, seq);
    }
    return { cursor: at.place.cursors.write(seq), repeated: duplicate === true };
  }

  async #publish(subject: string, data: Uint8Array, headers?: MsgHdrs): Promise<PublishAnswer> {
    const giveUp = performance.now() + this.#timeoutMs;
    for (;;) {
      const answer = await this.#wire.request(subject, data, headers);
      const stored = answer.json<PublishAnswer & { error?: Refusal }>();
      const isInProcess = stored.error?.err_code === REFUSED.inProcess;
      if (!isInProcess || performance.now() > giveUp) return given(stored);
      // The same record is under way to the copies of the stream: soon it will be there.
      await sleep(BETWEEN_TRIES_MS, undefined);
    }
  }

  /** Writes down that a topic is trimmed, unless it was trimmed further. */
  async #mark(place: TopicSubjects, upTo: number): Promise<void> {
    for (;;) {
      const before = await this.#reader.trimmed(place);
      if (before.upTo >= upTo) return;
      const headers = this.#npm.transport.headers();
      headers.set("Nats-Rollup", "sub");
      headers.set("Nats-Expected-Last-Subject-Sequence", String(before.seq));
      const answer = await this.#wire.request(place.trim, String(upTo), headers);
      const { error } = answer.json<{ error?: Refusal }>();
      if (error === undefined) return;
      // Somebody else trims the topic at the same time.
      if (error.err_code === REFUSED.wrongSequence) continue;
      const failed = refused(error);
      if (failed.code !== Code.ResourceExhausted) throw failed;
      return this.#raiseFloor(upTo);
    }
  }

  /** Where there is no room for a mark, which is when a trim is needed most: the floor of all topics tells. */
  async #raiseFloor(floor: number): Promise<void> {
    const { config } = await this.#reader.state();
    if (floorOf(config.description) >= floor) return;
    const raised = { ...config, description: describe(floor) };
    given(await this.#wire.api(`STREAM.UPDATE.${config.name}`, raised));
  }

  /** The log is over where its stream has become another. */
  #verify(): void {
    this.#reader.state().catch((error: ConnectError) => {
      if (error.code !== Code.FailedPrecondition) return;
      this.#over.abort(this.#incidents.report("connection", error));
    });
  }

  /** Tells the operator why something failed. */
  async #told<T>(kind: IncidentKind, doing: Promise<T>): Promise<T> {
    try {
      return await doing;
    } catch (error) {
      throw this.#incidents.report(kind, error);
    }
  }

  #place(topic: string): TopicSubjects {
    this.#check();
    checkTopic(topic);
    return this.#reader.place(topic);
  }

  #check(): void {
    if (this.#over.signal.aborted) throw this.#over.signal.reason;
  }

  #checkSize(data: Uint8Array): void {
    const most = (this.#wire.connection.info?.max_payload ?? Infinity) - HEADERS_BYTES;
    if (data.length <= most) return;
    throw failure(
      Code.ResourceExhausted,
      `record of ${data.length} B is over the ${most} B that fit into max_payload of the NATS server: append smaller ones or raise it`,
    );
  }
}

/** How JetStream acknowledges a record. */
interface PublishAnswer {
  readonly seq: number;
  readonly duplicate?: boolean;
}

/** Room for the headers of a record. */
const HEADERS_BYTES = 128;

/** @param after the sequence of a record with the same producer and sequence that is gone, or 0 */
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
