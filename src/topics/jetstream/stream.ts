import { Code, ConnectError } from "@connectrpc/connect";
import type { JetStreamManager, StreamConfig, StreamInfo } from "@nats-io/jetstream";
import { failure } from "../../failure.ts";
import { type Cursors, cursorsOf, newEpoch } from "../cursor.ts";
import { toOperator } from "../log-failure.ts";
import type { RetentionLimits } from "../retention.ts";
import { REFUSED } from "./refusal.ts";

/**
 * The stream of a log has these subjects:
 *
 *     hawser.<epoch>.log.<topic>    records, a message each
 *     hawser.<epoch>.trim.<topic>   the trim marker: the sequence up to which the topic was trimmed
 *     hawser.<epoch>.live.<topic>   records that the server republishes as it stores them
 *
 * The process that creates the stream chooses the epoch. A stream that was deleted and created
 * again has another epoch, so no message to the old one reaches it.
 */
export interface StreamOptions {
  readonly name: string;
  readonly retention: RetentionLimits;
  readonly replicas: number;
  readonly maxBytes: number;
  readonly dedupeMs: number;
}

const OLDEST_SERVER = [2, 9, 4];

/** Throws FAILED_PRECONDITION if the server is too old: before 2.9.4 republishing is not reliable. */
export function checkVersion(version: string): void {
  if (isAtLeast(version, OLDEST_SERVER)) return;
  throw failure(
    Code.FailedPrecondition,
    `the NATS server is ${version}: jetStreamLog() needs ${OLDEST_SERVER.join(".")} or newer`,
  );
}

/** Whether a server of this version republishes messages with the time of their storage. */
export function republishesTimes(version: string): boolean {
  return isAtLeast(version, [2, 10, 0]);
}

function isAtLeast(version: string, oldest: readonly number[]): boolean {
  const parts = version.split(/[.-]/, 3).map(Number);
  const at = oldest.findIndex((number, part) => parts[part] !== number);
  return at === -1 || (parts[at] as number) > (oldest[at] as number);
}

/** Throws INVALID_ARGUMENT if this is not a valid name of a stream. */
export function checkName(name: string): void {
  if (/^[\w-]{1,64}$/.test(name)) return;
  throw failure(
    Code.InvalidArgument,
    `no stream can be named ${JSON.stringify(name)}: use 1 to 64 of A-Z, a-z, 0-9, "-" and "_"`,
  );
}

/** The subjects of a topic, and its cursors. */
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
 * Returns the final token of a topic's subjects: the topic's name if it consists only of A-Z, a-z,
 * 0-9, "_" and "-", else "~" and base64url.
 */
function tokenOf(topic: string): string {
  return /^[\w-]+$/.test(topic) ? topic : `~${Buffer.from(topic).toString("base64url")}`;
}

/** Returns the name of the topic whose subjects end with this token. */
export function topicOf(token: string): string {
  return token.startsWith("~") ? Buffer.from(token.slice(1), "base64url").toString() : token;
}

const NANOS = 1e6;

/** Returns the required configuration of the stream. */
function configOf({ name, retention, replicas, maxBytes, dedupeMs }: StreamOptions, epoch: string) {
  const { ageMs, records } = retention;
  const head = `${name}.${epoch}`;
  return {
    subjects: [`${head}.log.*`, `${head}.trim.*`],
    retention: "limits",
    storage: "file",
    // At maxBytes appends fail: the oldest records are dropped only by age and by number.
    discard: "new",
    max_age: ageMs === Infinity ? 0 : Math.ceil(ageMs * NANOS),
    max_msgs: -1,
    max_msg_size: -1,
    max_bytes: maxBytes === Infinity ? -1 : maxBytes,
    max_msgs_per_subject: records === Infinity ? -1 : records,
    discard_new_per_subject: false,
    // JetStream refuses a window that is longer than max_age.
    duplicate_window: Math.ceil(Math.min(dedupeMs, ageMs) * NANOS),
    num_replicas: replicas,
    republish: { src: `${head}.log.>`, dest: `${head}.live.>` },
    allow_rollup_hdrs: true,
    deny_purge: false,
    no_ack: false,
    sealed: false,
  } satisfies Partial<StreamConfig>;
}

/**
 * Creates the stream, or updates an existing one. Throws FAILED_PRECONDITION if it cannot have the
 * required configuration.
 */
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
      .catch(throwRefused(name));
    // Another process created the stream meanwhile.
    return made === undefined ? openStream(manager, options) : withConfig(config, made);
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
  return withConfig(config, await manager.streams.update(name, updated).catch(throwRefused(name)));
}

/**
 * Returns the description of the stream with its floor. Records up to that position may have been
 * removed without any other trace. The floor is in the description because a stream of NATS 2.9 has
 * no metadata.
 */
export function describe(floor: number): string {
  return `A log of Hawser's; floor ${floor}`;
}

export function floorOf(description: string | undefined): number {
  return Number(/; floor (\d+)$/.exec(description ?? "")?.[1] ?? 0);
}

/** Returns the epoch of a log's stream, or `undefined` if the stream is not a log's. */
export function epochOf({ config }: StreamInfo): string | undefined {
  return /^[^.]+\.([0-9a-f]{16})\.log\.\*$/.exec(config.subjects?.[0] ?? "")?.[1];
}

/** Returns the stream. Throws FAILED_PRECONDITION if its configuration is not the required one. */
function withConfig(config: object, info: StreamInfo): StreamInfo {
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
    // A server that does not know a setting leaves it out, which is the same as false.
    const is = (found as Record<string, unknown>)[key] ?? (value === false ? false : undefined);
    const [want, have] = [JSON.stringify(value), JSON.stringify(is)];
    return want === have ? [] : [`${key} is ${have ?? "not there"}, must be ${want}`];
  });
}

/** Returns `undefined` for a refusal with this code; throws any other error. */
function unless(code: number) {
  return (error: Error & { code?: number }): undefined => {
    if (error.code !== code) throw error;
  };
}

/** Throws FAILED_PRECONDITION: the server refused to create or update the stream. */
function throwRefused(name: string) {
  return (error: Error): never => {
    throw failure(
      Code.FailedPrecondition,
      `the NATS server does not take the stream ${name} as it must be: ${error.message}`,
      error,
    );
  };
}

/** Converts the error of a log that could not be opened, for the caller, who is its operator. */
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
