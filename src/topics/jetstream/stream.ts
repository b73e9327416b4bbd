import { Code, ConnectError } from "@connectrpc/connect";
import type { JetStreamManager, StreamConfig, StreamInfo } from "@nats-io/jetstream";
import { failure } from "../../failure.ts";
import { type Cursors, cursorsOf, newEpoch } from "../cursor.ts";
import { toOperator } from "../log-failure.ts";
import type { RetentionLimits } from "../retention.ts";
import { REFUSED } from "./refusal.ts";

/**
 * The one stream of a log, and the subjects in it:
 *
 *     hawser.<epoch>.log.<topic>    records, a message each
 *     hawser.<epoch>.trim.<topic>   the last trim of the topic: up to which sequence
 *     hawser.<epoch>.live.<topic>   records as they are stored: the server publishes them again
 *
 * The process that makes the stream chooses the epoch. A stream that was deleted
 * and made again has another epoch, and so no message to the old one reaches it.
 */
export interface StreamOptions {
  readonly name: string;
  readonly retention: RetentionLimits;
  readonly replicas: number;
  readonly maxBytes: number;
  readonly dedupeMs: number;
}

const OLDEST_SERVER = [2, 9, 4];

/** Throws FAILED_PRECONDITION where the server is too old: before 2.9.4 republish is not reliable. */
export function checkVersion(version: string): void {
  if (isAtLeast(version, OLDEST_SERVER)) return;
  throw failure(
    Code.FailedPrecondition,
    `the NATS server is ${version}: jetStreamLog() needs ${OLDEST_SERVER.join(".")} or newer`,
  );
}

/** Whether what the server publishes again has the time at which it was stored. */
export function republishesTimes(version: string): boolean {
  return isAtLeast(version, [2, 10, 0]);
}

function isAtLeast(version: string, least: readonly number[]): boolean {
  const parts = version.split(/[.-]/, 3).map(Number);
  const at = least.findIndex((number, part) => parts[part] !== number);
  return at === -1 || (parts[at] as number) > (least[at] as number);
}

/** Throws INVALID_ARGUMENT where no stream can have this name. */
export function checkName(name: string): void {
  if (/^[\w-]{1,64}$/.test(name)) return;
  throw failure(
    Code.InvalidArgument,
    `no stream can be named ${JSON.stringify(name)}: use 1 to 64 of A-Z, a-z, 0-9, "-" and "_"`,
  );
}

/** The subjects of a topic, and the maker of its cursors. */
export interface TopicSubjects {
  readonly records: string;
  readonly live: string;
  readonly trim: string;
  readonly cursors: Cursors;
}

export function subjectsOf(stream: string, epoch: string, topic: string): TopicSubjects {
  const [head, token] = [`${stream}.${epoch}`, tokenOf(topic)];
  return {
    records: `${head}.log.${token}`,
    live: `${head}.live.${token}`,
    trim: `${head}.trim.${token}`,
    cursors: cursorsOf(epoch, topic),
  };
}

/**
 * The last token of a topic's subjects: its name where that is of A-Z, a-z, 0-9, "_" and "-" alone,
 * else "~" and base64url.
 */
function tokenOf(topic: string): string {
  return /^[\w-]+$/.test(topic) ? topic : `~${Buffer.from(topic).toString("base64url")}`;
}

/** The name of the topic that has this last token in its subjects. */
export function topicOf(token: string): string {
  return token.startsWith("~") ? Buffer.from(token.slice(1), "base64url").toString() : token;
}

const NANOS = 1e6;

/** The configuration that the stream must have. */
function configOf({ name, retention, replicas, maxBytes, dedupeMs }: StreamOptions, epoch: string) {
  const { ageMs, records } = retention;
  const head = `${name}.${epoch}`;
  return {
    subjects: [`${head}.log.*`, `${head}.trim.*`],
    retention: "limits",
    storage: "file",
    // At maxBytes appends fail; the oldest records are dropped by age and by number alone.
    discard: "new",
    max_age: ageMs === Infinity ? 0 : Math.ceil(ageMs * NANOS),
    max_msgs: -1,
    max_msg_size: -1,
    max_bytes: maxBytes === Infinity ? -1 : maxBytes,
    max_msgs_per_subject: records === Infinity ? -1 : records,
    discard_new_per_subject: false,
    // JetStream refuses one that is longer than max_age.
    duplicate_window: Math.ceil(Math.min(dedupeMs, ageMs) * NANOS),
    num_replicas: replicas,
    republish: { src: `${head}.log.>`, dest: `${head}.live.>` },
    allow_rollup_hdrs: true,
    deny_purge: false,
    no_ack: false,
    sealed: false,
  } satisfies Partial<StreamConfig>;
}

/** Makes the stream, or updates one that is there; throws FAILED_PRECONDITION where it cannot be as it must. */
export async function openStream(
  manager: JetStreamManager,
  options: StreamOptions,
): Promise<StreamInfo> {
  const { name } = options;
  const found = await manager.streams.info(name).catch(unless(REFUSED.noStream));
  if (found === undefined) {
    const config = configOf(options, newEpoch());
    const made = await manager.streams
      .add({ ...config, name })
      .catch(unless(REFUSED.nameInUse))
      .catch(notTaken(name));
    // Another process has made it meanwhile.
    return made === undefined ? openStream(manager, options) : checked(config, made);
  }
  const config = configOf(options, epochOf(found) ?? "");
  const { subjects, retention, storage, sealed } = config;
  const sources = [found.config.mirror, found.config.sources].flat().filter(Boolean);
  const foreign = differences({ subjects, retention, storage, sealed }, found.config);
  if (foreign.length > 0 || sources.length > 0) {
    throw failure(
      Code.FailedPrecondition,
      `there is a stream ${name} that is no log of Hawser's (${foreign.join("; ") || "it has sources"}): name another one`,
    );
  }
  if (differences(config, found.config).length === 0) return found;
  const { max_msgs_per_subject: before } = found.config;
  const description =
    before === config.max_msgs_per_subject
      ? found.config.description
      : describe(Math.max(found.state.last_seq, floorOf(found.config.description)));
  const updated = { ...found.config, ...config, description };
  return checked(config, await manager.streams.update(name, updated).catch(notTaken(name)));
}

/**
 * The description of the stream, with its floor: a record up to that position may
 * have been removed and nothing else tells of it. It is in the description because
 * a stream of 2.9 has no metadata.
 */
export function describe(floor: number): string {
  return `A log of Hawser's; floor ${floor}`;
}

export function floorOf(description: string | undefined): number {
  return Number(/; floor (\d+)$/.exec(description ?? "")?.[1] ?? 0);
}

/** The epoch of a log's stream; `undefined`: the stream is not a log's. */
export function epochOf({ config }: StreamInfo): string | undefined {
  return /^[^.]+\.([0-9a-f]{16})\.log\.\*$/.exec(config.subjects?.[0] ?? "")?.[1];
}

function checked(config: object, info: StreamInfo): StreamInfo {
  const wrong = differences(config, info.config);
  if (wrong.length > 0) {
    throw failure(
      Code.FailedPrecondition,
      `the NATS server does not keep to what the stream ${info.config.name} needs: ${wrong.join("; ")}`,
    );
  }
  return info;
}

function differences(config: object, found: object): string[] {
  return Object.entries(config).flatMap(([key, value]) => {
    // A server that does not know a setting leaves it out: that is as good as false.
    const is = (found as Record<string, unknown>)[key] ?? (value === false ? false : undefined);
    const [want, have] = [JSON.stringify(value), JSON.stringify(is)];
    return want === have ? [] : [`${key} is ${have ?? "not there"}, must be ${want}`];
  });
}

/** Turns a refusal with this code into `undefined`; throws any other error. */
function unless(code: number) {
  return (error: Error & { code?: number }): undefined => {
    if (error.code !== code) throw error;
  };
}

/** Throws the error of a stream that the server refused to make or update. */
function notTaken(name: string) {
  return (error: Error): never => {
    throw failure(
      Code.FailedPrecondition,
      `the NATS server does not take the stream ${name} as it must be: ${error.message}`,
      error,
    );
  };
}

/** The error of a log that could not be opened, for the caller, which is its operator. */
export function notOpened(error: unknown): unknown {
  if (error instanceof ConnectError) return toOperator(error);
  if ((error as Error).name === "JetStreamNotEnabled") {
    return failure(
      Code.FailedPrecondition,
      "JetStream is not enabled on the NATS server: start it with -js",
      error,
    );
  }
  return failure(Code.Unavailable, `JetStream did not answer: ${(error as Error).message}`, error);
}
