/** A gRPC server of a few lines on an engine, which earns as the layer above the engine does. */
import { EARNED_BY_CALL, EARNED_BY_MESSAGE } from "../../../src/http2/abuse.ts";
import type { EndOptions } from "./end.ts";
import { MessageCutter } from "./message-cutter.ts";
import type { StreamLog } from "./stream-log.ts";

const HEADERS = [":status", "200", "content-type", "application/grpc"];
const TRAILERS = ["grpc-status", "0"];

/** Sends a message, and earns for it. */
export function sendMessage(log: StreamLog, payload: Uint8Array): void {
  if (!log.stream.headersSent) log.stream.sendHeaders(HEADERS);
  log.writeMessage(payload);
  log.stream.connection.earn(EARNED_BY_MESSAGE);
}

/**
 * /echo: sends each message back; /unary: at the end of the request one message; /push: one message at once, and no more;
 * /silent: nothing; /count: one message at the end.
 */
export function grpcServer(): Pick<EndOptions, "onRequest" | "hooks"> {
  const cutters = new Map<StreamLog, MessageCutter>();
  return {
    onRequest(log) {
      log.countsOnly = true;
      const path = pathOf(log);
      const cutter = new MessageCutter((message) => {
        log.stream.connection.earn(EARNED_BY_MESSAGE);
        if (path === "/echo") sendMessage(log, message);
      });
      cutters.set(log, cutter);
      if (path === "/push") sendMessage(log, Buffer.from("one"));
    },
    hooks: {
      data: (log, bytes) => cutters.get(log)?.push(bytes),
      end(log) {
        const path = pathOf(log);
        if (path === "/silent" || path === "/push") return;
        if (path !== "/echo")
          sendMessage(log, Buffer.from(`${cutters.get(log)?.checksums.length}`));
        if (!log.stream.headersSent) log.stream.sendHeaders(HEADERS);
        log.stream.end(TRAILERS);
      },
      closed(log) {
        cutters.delete(log);
        if (log.closed?.by === "ended") log.stream.connection.earn(EARNED_BY_CALL);
      },
    },
  };
}

function pathOf({ headers = [] }: StreamLog): string {
  return headers[headers.indexOf(":path") + 1] as string;
}
