/**
 * How the client's half of a session judges what the server sends on an
 * attachment: its answer, its counts, the response headers, the end. The
 * functions change nothing.
 */
import { Code, type ConnectError } from "@connectrpc/connect";
import type { Metadata } from "../../gen/hawser/v1/session_pb.js";
import type { HeaderList, Status } from "../call-stream.ts";
import { asFailure, failure, tooManyFields } from "../failure.ts";
import { readMetadata } from "./control.ts";
import { type Answer, readAnswer, readSent, saysFull } from "./headers.ts";
import type { SessionIdentity } from "./identity.ts";
import { Reason, readSessionLost, sessionLost } from "./lost.ts";
import type { SessionWindow, Violation } from "./session-window.ts";

/** The state of the client's half by which it judges. */
export interface ClientKnowledge {
  readonly identity: Pick<SessionIdentity, "isAnswered" | "epoch">;
  readonly window: Pick<SessionWindow, "sent" | "received" | "checkResume">;
  /** The number of messages that the server is known to have. */
  readonly arrived: number;
}

/** Returns the answer of the server, or the error with which the session is lost. */
export function judgeAnswer(headers: HeaderList, known: ClientKnowledge): Answer | ConnectError {
  let answer: Answer | undefined;
  try {
    answer = readAnswer(headers);
  } catch (error) {
    return asFailure(error);
  }
  if (answer === undefined) {
    return failure(Code.Internal, "the server keeps no sessions any more: make the call again");
  }
  const { identity, window } = known;
  const isAnotherSession = identity.isAnswered
    ? // After the first answer only the same server process can resume the session.
      !answer.resumed || answer.epoch !== identity.epoch
    : // A session that begins with this attachment has received nothing.
      !answer.resumed && answer.received > 0;
  if (isAnotherSession) return protocolError("the server answered with another session", known);
  return judgeCount(answer.received, window.checkResume(answer.received), known) ?? answer;
}

/** Returns the error with which the session is lost if a count of the server violates the rules. */
export function judgeCount(
  count: number,
  violation: Violation | undefined,
  known: ClientKnowledge,
): ConnectError | undefined {
  if (violation === "gap") return sessionLost(Reason.GAP, known.arrived);
  if (violation === undefined) return undefined;
  return protocolError(`the server has received ${count} messages of ${known.window.sent}`, known);
}

/** Returns the handler's response headers from a control frame, or the error with which the session is lost. */
export function judgeMetadata(
  metadata: Metadata,
  httpHeaders: HeaderList,
  known: ClientKnowledge,
): HeaderList | ConnectError {
  const handlerHeaders = readMetadata(metadata);
  if (handlerHeaders === undefined) {
    return protocolError("the server sent response headers that are not valid", known);
  }
  const count = Object.keys(httpHeaders).length + metadata.entries.length;
  return tooManyFields(count, "response headers", "the server") ?? handlerHeaders;
}

/** The meaning of the end of an attachment for its session. */
export type EndVerdict =
  /** The call has ended, and all messages of the server have arrived. */
  | { readonly is: "call ended" }
  /** Only the attachment has ended. The next one follows after `waitMs`, if the server asks for that. */
  | { readonly is: "attachment ended"; readonly waitMs?: number | undefined }
  /** No server has answered the session, and according to this server's clock it is older than the grace. */
  | { readonly is: "expired" }
  /** The server takes no more sessions. If this was attachment 1, no handler has run. */
  | { readonly is: "full"; readonly error: ConnectError }
  /** The session is lost. `serverKnows`: the server keeps it no longer, and need not be told. */
  | { readonly is: "lost"; readonly error: ConnectError; readonly serverKnows: boolean };

/** Judges the status and the trailers with which an attachment ended. */
export function judgeEnd(status: Status, trailers: HeaderList, known: ClientKnowledge): EndVerdict {
  let sent: number | undefined;
  try {
    sent = readSent(trailers);
  } catch (error) {
    return { is: "lost", error: asFailure(error), serverKnows: false };
  }
  if (sent === undefined) return judgeOtherEnd(status, trailers, known);
  const { received } = known.window;
  if (sent === received) return { is: "call ended" };
  if (sent > received) return { is: "attachment ended" };
  const what = `the server says it sent ${sent} messages, but ${received} arrived`;
  return { is: "lost", error: protocolError(what, known), serverKnows: false };
}

/** Judges a status that is not the handler's: it comes from a proxy, or from a server that refuses this attachment. */
function judgeOtherEnd(
  status: Status,
  trailers: HeaderList,
  { identity, window, arrived }: ClientKnowledge,
): EndVerdict {
  if (status === "ok") {
    const what = "the server ended the call without saying how many messages it sent";
    const error = sessionLost(Reason.PROTOCOL_ERROR, arrived, what);
    return { is: "lost", error, serverKnows: false };
  }
  const why = readSessionLost(status);
  if (why?.reason === Reason.EXPIRED && !identity.isAnswered) return { is: "expired" };
  if (why !== undefined) {
    const reported = Math.min(Number(why.arrived), window.sent);
    const error = sessionLost(why.reason, Math.max(arrived, reported));
    return { is: "lost", error, serverKnows: true };
  }
  if (status.code === Code.ResourceExhausted && saysFull(trailers) && !identity.isAnswered) {
    return { is: "full", error: status };
  }
  if (status.code !== Code.Unavailable) return { is: "lost", error: status, serverKnows: true };
  const pushback = String(trailers["grpc-retry-pushback-ms"]);
  const waitMs = /^\d{1,6}$/.test(pushback) ? Number(pushback) : undefined;
  return { is: "attachment ended", waitMs };
}

/** The error of a call whose sessions were all older than the grace according to the server's clock. */
export function expiredError(): ConnectError {
  const what =
    "the server's clock says that it began longer ago than the grace period: this machine may have been asleep, or a clock is wrong. Make the call again";
  return sessionLost(Reason.EXPIRED, 0, what);
}

function protocolError(what: string, { arrived }: ClientKnowledge): ConnectError {
  return sessionLost(Reason.PROTOCOL_ERROR, arrived, what);
}
