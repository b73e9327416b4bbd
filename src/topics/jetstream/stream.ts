import { Code, ConnectError } from "@connectrpc/connect";
import type { JetStreamManager, StreamConfig, StreamInfo } from "@nats-io/jetstream";
import { failure } from "../../failure.ts";
import { newEpoch } from "../cursor.ts";
import { toOperator } from "../log-failure.ts";
import type { Kept } from "../retention.ts";
import { REFUSED } from "./wire.ts";

/**
 * The one stream of a log, and the names in it:
 *
 *     hawser.<epoch>.log.<topic>    records, a message each
 *     hawser.<epoch>.trim.<topic>   the last trim of the topic: up to which sequence
 *     hawser.<epoch>.live.<topic>   records as they are stored: the server publishes them again
 *
 * Who makes the stream chooses the epoch. One that was deleted and made anew
 * has another, and nothing that is said to the old one reaches it.
 */
export interface StreamOptions {
  readonly name: string;
  readonly kept: Kept;
  readonly replicas: number;
  readonly maxBytes: number;
  readonly dedupeMs: number;
}

const OLDEST_SERVER = [2, 9, 4];

/** Throws FAILED_PRECONDITION where the server is older than republish can be relied on. */
export function checkVersion(version: string): void {
  if (isAtLeast(version, OLDEST_SERVER)) return;
  throw failure(
    Code.FailedPrecondition,
    `the NATS server is ${version}: jetStreamLog() needs ${OLDEST_SERVER.join(".")} or newer`,
  );
}

/** Whether the server says of what it publishes again when it was stored. */
export function tellsTimes(version: string): boolean {
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

/** A topic's part of its subjects: its name where that has plain letters alone, else base64url behind a "~". */
export function tokenOf(topic: string): string {
  return /^[\w-]+$/.test(topic) ? topic : `~${Buffer.from(topic).toString("base64url")}`;
}

export function topicOf(token: string): string {
  return token.startsWith("~") ? Buffer.from(token.slice(1), "base64url").toString() : token;
}

const NANOS = 1e6;

/** What a stream must be like. */
function wanted({ name, kept, replicas, maxBytes, dedupeMs }: StreamOptions, epoch: string) {
  const { ageMs, records } = kept;
  const head = `${name}.${epoch}`;
  return {
    subjects: [`${head}.log.*`, `${head}.trim.*`],
    retention: "limits",
    storage: "file",
    // Full means that appends fail; the oldest go by age and by number alone.
    discard: "new",
    max_age: ageMs === Infinity ? 0 : Math.ceil(ageMs * NANOS),
    max_msgs: -1,
    max_msg_size: -1,
    max_bytes: maxBytes === Infinity ? -1 : maxBytes,
    max_msgs_per_subject: records === Infinity ? -1 : records,
    discard_new_per_subject: false,
    // It may not be longer than the age.
    duplicate_window: Math.ceil(Math.min(dedupeMs, ageMs) * NANOS),
    num_replicas: replicas,
    republish: { src: `${head}.log.>`, dest: `${head}.live.>` },
    allow_rollup_hdrs: true,
    deny_purge: false,
    no_ack: false,
    sealed: false,
  } satisfies Partial<StreamConfig>;
}

/** Makes the stream, or fits one that is there; throws FAILED_PRECONDITION where it cannot be what it must be. */
export async function openStream(
  manager: JetStreamManager,
  options: StreamOptions,
): Promise<StreamInfo> {
  const { name } = options;
  const found = await manager.streams.info(name).catch(unless(REFUSED.noStream));
  if (found === undefined) {
    const config = wanted(options, newEpoch());
    const made = await manager.streams
      .add({ ...config, name })
      .catch(unless(REFUSED.nameInUse))
      .catch(refuse(name));
    // Somebody else was faster: theirs it is.
    return made === undefined ? openStream(manager, options) : checked(config, made);
  }
  const config = wanted(options, epochOf(found) ?? "");
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
  const fitted = { ...found.config, ...config, description };
  return checked(config, await manager.streams.update(name, fitted).catch(refuse(name)));
}

/**
 * Below the floor a record may have been removed and nothing else tells of it;
 * it stands in the description of the stream, where 2.9 has room for it.
 */
export function describe(floor: number): string {
  return `A log of Hawser's; floor ${floor}`;
}

export function floorOf(description: string | undefined): number {
  return Number(/; floor (\d+)$/.exec(description ?? "")?.[1] ?? 0);
}

/** The epoch of a log's stream; `undefined`: it is something else. */
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
    // What is false is left out by servers that do not know it.
    const is = (found as Record<string, unknown>)[key] ?? (value === false ? false : undefined);
    const [want, have] = [JSON.stringify(value), JSON.stringify(is)];
    return want === have ? [] : [`${key} is ${have ?? "not there"}, must be ${want}`];
  });
}

/** What was refused for this reason is not there. */
function unless(code: number) {
  return (error: Error & { code?: number }): undefined => {
    if (error.code !== code) throw error;
  };
}

function refuse(name: string) {
  return (error: Error): never => {
    throw failure(
      Code.FailedPrecondition,
      `the NATS server does not take the stream ${name} as it must be: ${error.message}`,
      error,
    );
  };
}

/** What went wrong while a log was opened, for its operator. */
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
