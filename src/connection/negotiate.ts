import { create, type DescMethod, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import {
  NegotiateRequestSchema,
  NegotiateResponseSchema,
  SessionService,
} from "../../gen/hawser/v1/session_pb.js";
import type { ClientStreamListener, Received } from "../call-stream.ts";
import { failure } from "../failure.ts";
import { realClock } from "../flow/clock.ts";
import { startTimer } from "../flow/wait.ts";
import type { RequestHead } from "../grpc/request-headers.ts";
import type { NegotiatedSettings } from "../session/settings.ts";
import type { Connection, ConnectionSource } from "./connection.ts";

const METHOD = SessionService.method.negotiate;

/** A longer answer is not one of Negotiate. */
const ANSWER_MAX_BYTES = 4096;

/** A server that has not answered by then keeps no sessions. */
const ANSWER_MS = 5000;

/** On how many connections, one after the other, Negotiate is tried where they are lost before the answer. */
const NEGOTIATIONS = 3;

/** Makes the request headers of a method. */
export type MethodHeaders = (method: DescMethod) => RequestHead;

/**
 * A connection whose server has said whether it keeps sessions. Rejects where
 * there is no connection, or one after the other is lost before its server
 * answers.
 *
 * @param wanted whether a call still waits for it
 */
export async function negotiated(
  source: ConnectionSource,
  headers: MethodHeaders,
  wanted: () => boolean,
): Promise<Connection> {
  for (let attempt = 1; ; attempt++) {
    // acquire() has called back before it resolves.
    let asked!: Connection;
    await source.acquire((ready) => {
      asked = ready;
    }, wanted);
    try {
      if (asked.mustNegotiate) await negotiate(asked, headers);
      return asked;
    } catch (error) {
      if (attempt === NEGOTIATIONS) throw error;
    }
  }
}

/**
 * Asks the server of a connection whether it keeps sessions (session.proto, 2),
 * and notes the answer there. A server that keeps none, or answers anything
 * else, gets plain calls. Where it has answered with settings before, and does
 * not now, those stay. Rejects where the connection is lost.
 */
function negotiate(connection: Connection, headers: MethodHeaders): Promise<void> {
  const asked = asking.get(connection);
  if (asked !== undefined) return asked;
  const answer = ask(connection, headers).finally(() => asking.delete(connection));
  asking.set(connection, answer);
  return answer;
}

const asking = new WeakMap<Connection, Promise<void>>();

async function ask(connection: Connection, headers: MethodHeaders): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const plain = () => {
    if (connection.sessionSettings === undefined) connection.setSessionSettings(false);
    resolve();
  };
  const listener: ClientStreamListener = {
    onHeaders() {},
    onMessage(message) {
      try {
        connection.setSessionSettings(readSettings(message));
        connection.useHawserKeepalive();
      } catch {
        plain();
      }
    },
    onInvalid: plain,
    onClosed(outcome) {
      if (outcome.is !== "lost" || connection.usable) plain();
      else reject(outcome.error);
    },
  };
  const stream = connection.open({
    head: headers(METHOD),
    readMaxBytes: ANSWER_MAX_BYTES,
    listener,
  });
  stream.write(0, toBinary(NegotiateRequestSchema, create(NegotiateRequestSchema)));
  stream.endSend();
  using _timer = startTimer(ANSWER_MS, plain);
  await promise;
  stream.reset(failure(Code.Canceled, "the server's answer came too late"));
}

function readSettings({ bytes, start, end }: Received): NegotiatedSettings {
  const said = fromBinary(NegotiateResponseSchema, bytes.subarray(start, end));
  const settings = {
    epoch: said.epoch,
    graceMs: Number(said.graceMs),
    window: { bytes: Number(said.windowBytes), messages: Number(said.windowMessages) },
    clockAheadMs: Number(said.nowMs) - realClock.now(),
  };
  const { bytes: windowBytes, messages } = settings.window;
  if (!/^[0-9a-f]{32}$/.test(settings.epoch)) throw new RangeError("no epoch");
  if (!(settings.graceMs > 0 && windowBytes > 0 && messages > 0)) throw new RangeError("no window");
  return settings;
}
