import { create, type DescMethod, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import {
  NegotiateRequestSchema,
  NegotiateResponseSchema,
  SessionService,
} from "../../gen/hawser/v1/session_pb.js";
import type { ClientStreamListener, Received } from "../call-stream.ts";
import { failure, handled } from "../failure.ts";
import { realClock } from "../flow/clock.ts";
import { startTimer } from "../flow/wait.ts";
import type { NegotiatedSettings } from "../session/settings.ts";
import type { Connection, ConnectionSource } from "./connection.ts";
import type { RequestHead } from "./request-headers.ts";

const METHOD = SessionService.method.negotiate;

/** An answer of Negotiate is shorter than this. */
const ANSWER_MAX_BYTES = 4096;

/** A server that has not answered within this time is taken for one without sessions. */
const ANSWER_MS = 5000;

/** The most attempts of Negotiate, each on another connection, if connections are lost before the answer. */
const NEGOTIATIONS = 3;

/** Makes the request headers of Negotiate. */
export type NegotiateHeaders = (method: DescMethod) => RequestHead;

/**
 * Returns a connection whose `sessionSettings` are known. Rejects if there is no
 * connection, or if NEGOTIATIONS connections are lost before the answer.
 *
 * @param wanted whether a call still waits for the connection
 */
export async function negotiatedConnection(
  source: ConnectionSource,
  headers: NegotiateHeaders,
  wanted: () => boolean,
): Promise<Connection> {
  for (let attempt = 1; ; attempt++) {
    // acquire() calls back before it resolves.
    let asked!: Connection;
    let answered: Promise<void> | undefined;
    await source.acquire((ready) => {
      asked = ready;
      // Opened now: later the free stream may be another call's.
      if (ready.mustNegotiate) answered = handled(negotiate(ready, headers));
    }, wanted);
    try {
      await answered;
      return asked;
    } catch (error) {
      if (attempt === NEGOTIATIONS) throw error;
    }
  }
}

/**
 * Asks the server of a connection whether it keeps sessions (session.proto, 2),
 * and sets `sessionSettings`. Any answer other than valid settings means that it
 * keeps none; but settings of an earlier answer then stay. Rejects if the
 * connection is lost.
 */
async function negotiate(connection: Connection, headers: NegotiateHeaders): Promise<void> {
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
      if (outcome.is !== "lost" || connection.isUsable) plain();
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
  const timer = startTimer(ANSWER_MS, plain);
  try {
    await promise;
  } finally {
    timer[Symbol.dispose]();
  }
  stream.reset(failure(Code.Canceled, "the server's answer came too late"));
}

function readSettings({ bytes, start, end }: Received): NegotiatedSettings {
  const response = fromBinary(NegotiateResponseSchema, bytes.subarray(start, end));
  const settings = {
    epoch: response.epoch,
    graceMs: Number(response.graceMs),
    window: { bytes: Number(response.windowBytes), messages: Number(response.windowMessages) },
    clockAheadMs: Number(response.nowMs) - realClock.now(),
  };
  const { bytes: windowBytes, messages } = settings.window;
  if (!/^[0-9a-f]{32}$/.test(settings.epoch)) throw new RangeError("no epoch");
  if (!(settings.graceMs > 0 && windowBytes > 0 && messages > 0)) throw new RangeError("no window");
  return settings;
}
