/** The JetStream entry of Hawser: `import { jetStreamLog } from "hawser/topics/jetstream"`. */
import { Code } from "@connectrpc/connect";
import type { NodeConnectionOptions } from "@nats-io/transport-node";
import { failure } from "../../failure.ts";
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
import { Incidents } from "../incidents.ts";
import type { Retention, TopicLog } from "../log.ts";
import { retentionChecks, retentionLimitsOf } from "../retention.ts";
import { JetStreamLog } from "./log.ts";
import { checkName, checkVersion, notOpened, openStream, type StreamOptions } from "./stream.ts";
import { packages, Wire } from "./wire.ts";

export interface JetStreamLogOptions {
  /** Where NATS is: "nats://host:port" or "host:port", or several of one cluster. */
  readonly servers: string | readonly string[];
  /**
   * The name of the stream, which belongs to the log alone. All processes that name
   * the same one share the log; the last of them that opened it decides what it
   * keeps. Default: "hawser".
   */
  readonly stream?: string;
  /**
   * What each topic keeps, by age and number of records. JetStream cannot count
   * the bytes of a topic. With replicas each server drops records by its own clock:
   * a record that is about ageMs old may be on one server, and not on another.
   */
  readonly retention?: Pick<Retention, "ageMs" | "records">;
  /** The largest size of the stream with all its topics; past it, appends are RESOURCE_EXHAUSTED. Default: no limit. */
  readonly maxBytes?: number;
  /** On how many servers each record is kept: 1, 3 or 5. Default: 1. */
  readonly replicas?: number;
  /**
   * How long a producer and sequence that come again are recognised, counted from
   * the first time. The server holds about 100 B of memory for each record of that
   * time. Default: 120,000; at most retention.ageMs.
   */
  readonly dedupeMs?: number;
  /**
   * How long a call waits for NATS before it is UNAVAILABLE; while there is no connection it does
   * not wait. Default: 4,000.
   */
  readonly timeoutMs?: number;
  /**
   * How long a reader waits for a live record before it asks the server whether there
   * is one: live records may be lost within a cluster. Default: 15,000.
   */
  readonly silenceMs?: number;
  /**
   * Gets what the clients of a server must not read: which NATS is away, full or
   * refuses, and the remedy; when that begins, at most once a minute while it lasts,
   * and when it has ended. Default: `console`.
   */
  readonly logger?: Logger;
  /** Further options of the connection: tls, user, pass, token, authenticator … */
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
 * replica it outlives a crash of the server, but not a failure of its machine within
 * the server's sync_interval (2 minutes, unless configured).
 *
 * It differs from other logs in this:
 *
 * - Records of one append() are next to each other among the appends of this
 *   process; records of other processes may come between. An append() that is
 *   UNAVAILABLE may have stored some of its records, as a rule the first ones.
 *   Append the same again: with producers and sequences that stores those that
 *   are missing, at the end of the topic; without, it stores all a second time.
 * - A record that was stored before is recognised for `dedupeMs`.
 * - With a server before 2.10 the times of records are those of the process
 *   that appended them.
 * - A cursor whose record is gone may give a gap where nothing was lost
 *   (stream-reader.ts): a gap too many, never one too few.
 *
 * While a server is away readers wait, and appends are UNAVAILABLE.
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
    retention: retentionLimitsOf(options.retention),
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
