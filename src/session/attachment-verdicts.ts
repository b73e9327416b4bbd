/**
 * What the server says on an attachment, as the client's half of the session
 * judges it: the answer, the counts, the headers, the end. The functions
 * change nothing.
 */
import { Code, type ConnectError } from "@connectrpc/connect";
import type { Metadata } from "../../gen/hawser/v1/session_pb.js";
import type { HeaderList, Status } from "../call-stream.ts";
import { asFailure, failure, tooManyFields } from "../failure.ts";
import { readMetadata } from "./control.ts";
import { type Answer, readAnswer, readSent } from "./headers.ts";
import type { SessionIdentity } from "./identity.ts";
import { Reason, readSessionLost, sessionLost } from "./lost.ts";
import type { SessionWindow, Violation } from "./session-window.ts";

/** What the client's half knows. */
export interface ClientKnowledge {
  readonly identity: Pick<SessionIdentity, "isAnswered" | "epoch">;
  readonly window: Pick<SessionWindow, "sent" | "received" | "checkResume">;
  /** How many messages the server is known to have. */
  readonly arrived: number;
}

/** The answer of the server; or why the session is lost. */
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
  const isAnother = identity.isAnswered
    ? !answer.resumed || answer.epoch !== identity.epoch
    : !answer.resumed && answer.received > 0;
  if (isAnother) return protocolError("the server answered with another session", known);
  return judgeCount(answer.received, window.checkResume(answer.received), known) ?? answer;
}

/** Why the session is lost where a count of the server violates the rules. */
export function judgeCount(
  count: number,
  violation: Violation | undefined,
  known: ClientKnowledge,
): ConnectError | undefined {
  if (violation === "gap") return sessionLost(Reason.GAP, known.arrived);
  if (violation === undefined) return undefined;
  return protocolError(`the server has received ${count} messages of ${known.window.sent}`, known);
}

/** The response headers of the handler, which came in a control frame; or why the session is lost. */
export function judgeMetadata(
  metadata: Metadata,
  base: HeaderList,
  known: ClientKnowledge,
): HeaderList | ConnectError {
  const set = readMetadata(metadata);
  if (set === undefined) {
    return protocolError("the server sent response headers that are not valid", known);
  }
  const count = Object.keys(base).length + metadata.entries.length;
  return tooManyFields(count, "response headers", "the server") ?? set;
}

/** What the end of an attachment means for its session. */
export type EndVerdict =
  /** The call has ended, and all that the server sent is here. */
  | { readonly is: "call ended" }
  /** The attachment alone has ended: another one follows, at the earliest after `waitMs` where the server says so. */
  | { readonly is: "attachment ended"; readonly waitMs?: number | undefined }
  /** The server takes the session, which no server has answered, for older than its grace. */
  | { readonly is: "expired" }
  /** The session is lost. */
  | { readonly is: "lost"; readonly error: ConnectError; readonly serverKnows: boolean };

/** Judges the status and the trailers that the server ended an attachment with. */
export function judgeEnd(status: Status, trailers: HeaderList, known: ClientKnowledge): EndVerdict {
  let sent: number | undefined;
  try {
    sent = readSent(trailers);
  } catch (error) {
    return { is: "lost", error: asFailure(error), serverKnows: false };
  }
  if (sent === undefined) return judgeForeignEnd(status, trailers, known);
  const { received } = known.window;
  if (sent === received) return { is: "call ended" };
  if (sent > received) return { is: "attachment ended" };
  const what = `the server sent ${sent} messages; ${received} came`;
  return { is: "lost", error: protocolError(what, known), serverKnows: false };
}

/** The status is not the call's: it is a proxy's, or that of a server that refuses the attachment. */
function judgeForeignEnd(
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
    const said = Math.min(Number(why.arrived), window.sent);
    const error = sessionLost(why.reason, Math.max(arrived, said));
    return { is: "lost", error, serverKnows: true };
  }
  if (status.code !== Code.Unavailable) return { is: "lost", error: status, serverKnows: true };
  const pushback = String(trailers["grpc-retry-pushback-ms"]);
  const waitMs = /^\d{1,6}$/.test(pushback) ? Number(pushback) : undefined;
  return { is: "attachment ended", waitMs };
}

/** The error of a call whose sessions all looked too old to the server. */
export function expired(): ConnectError {
  const what =
    "to the server it looked older than its grace when it began: was this machine asleep, or does a clock drift? Make the call again";
  return sessionLost(Reason.EXPIRED, 0, what);
}

function protocolError(what: string, { arrived }: ClientKnowledge): ConnectError {
  return sessionLost(Reason.PROTOCOL_ERROR, arrived, what);
}
