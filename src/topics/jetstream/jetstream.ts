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
  /** The address of NATS, "nats://host:port" or "host:port", or the addresses of several servers of one cluster. */
  readonly servers: string | readonly string[];
  /**
   * The name of the stream that holds the log and nothing else. Logs opened with the same name are
   * the same log; the one opened last sets its retention. Default: "hawser".
   */
  readonly stream?: string;
  /**
   * The limits of each topic, by age and number of records. JetStream cannot limit the bytes of a
   * topic. With replicas each server drops records by its own clock: a record that is about ageMs
   * old may already be deleted on one replica while another still has it.
   */
  readonly retention?: Pick<Retention, "ageMs" | "records">;
  /**
   * The largest size of the stream with all its topics. Past it, appends fail with
   * RESOURCE_EXHAUSTED. Default: no limit.
   */
  readonly maxBytes?: number;
  /** On how many servers each record is kept: 1 to 5. Default: 1. */
  readonly replicas?: number;
  /**
   * How long a repeated producer and sequence are recognised, counted from the first time. The
   * server holds about 100 B of memory for each record of that time. Default: 120,000. A value
   * above retention.ageMs is reduced to it.
   */
  readonly dedupeMs?: number;
  /**
   * How long a call waits for NATS before it fails with UNAVAILABLE. If the connection is known to
   * be lost, it fails without waiting. Default: 4,000.
   */
  readonly timeoutMs?: number;
  /**
   * After this time without a live record a reader asks the server whether it missed one: a cluster
   * may lose what it republishes. Default: 15,000.
   */
  readonly silenceMs?: number;
  /**
   * Gets what clients must not see: when NATS is unreachable, full or refuses a request, and what
   * to do. A failure is logged when it begins, at most once a minute while it lasts, and when it
   * has ended. Default: `console`.
   */
  readonly logger?: Logger;
  /** Further options of the connection: tls, user, pass, token, authenticator … */
  readonly connection?: Omit<NodeConnectionOptions, "servers">;
}

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
    optionsOf({ ageMs: retentionChecks.ageMs, records: retentionChecks.records })(value, place);
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
 * Opens a log in one stream of NATS JetStream (server 2.9.4 or newer), which several processes
 * share. The packages @nats-io/transport-node and @nats-io/jetstream must be installed. An
 * acknowledged record is as durable as the stream: with one replica it survives a crash of the
 * server process; if the machine crashes, the records of the final
 * sync_interval may be lost (2 minutes by default).
 *
 * It differs from other logs in this:
 *
 * - Records of one append() are next to each other among the appends of this process; records of
 *   other processes may come between. If append() fails with UNAVAILABLE, some of its records may
 *   be stored, usually the first ones. Repeating it with the same producers and sequences stores
 *   the missing ones, after whatever was appended meanwhile. Without producers it stores all
 *   records twice.
 * - A record that was stored before is recognised for `dedupeMs`.
 * - With a server before 2.10 the times of records are those of the process that appended them.
 * - If a cursor's record was removed, a gap may be reported although nothing was lost
 *   (stream-reader.ts). A real loss is always reported.
 *
 * While the server is unreachable readers wait, and appends fail with UNAVAILABLE. Rejects with
 * INVALID_ARGUMENT for an unknown option or an invalid value; with FAILED_PRECONDITION if the
 * packages are missing, the server is too old, or the stream cannot have the required
 * configuration.
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
  const nats = await packages();
  const addresses = { ...connection, servers: [servers].flat() };
  const wire = await Wire.open(nats, addresses, { timeoutMs, incidents });
  try {
    checkVersion(wire.connection.info?.version ?? "0");
    const manager = await nats.jetstream.jetstreamManager(wire.connection, { timeout: timeoutMs });
    const info = await openStream(manager, settings);
    return new JetStreamLog({ nats, wire }, info, { timeoutMs, silenceMs, incidents });
  } catch (error) {
    await wire.close();
    throw notOpened(error);
  }
}
