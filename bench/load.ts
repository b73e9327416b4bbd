/**
 * The load on servers if Go is not on the PATH: raw HTTP/2. Requests are framed once, and replies are only counted, by
 * their bytes, so that the load uses little CPU. Unlike the Go load it puts several messages into one DATA frame if it
 * has several to send.
 */
import { type ClientHttp2Stream, connect, constants, type IncomingHttpHeaders } from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import {
  MessageRequestSchema,
  MessageResponseSchema,
  NotificationSchema,
} from "../gen/example/greeter_pb.js";
import { drive, type Gauge, urlOf } from "./clients/drive.ts";

const windowBytes = 16 * 1024 * 1024;

drive((target) => {
  const session = connect(urlOf(target), {
    ...(target.ca !== undefined && { ca: target.ca }),
    settings: { initialWindowSize: windowBytes },
    // 100 streams with 512 KiB in flight on each are more than Node's 10 MB.
    maxSessionMemory: 1000,
  });
  session.on("connect", () => session.setLocalWindowSize(windowBytes));
  const open = (method: string, headers: Record<string, string> = {}) =>
    session.request({
      ":method": "POST",
      ":path": `/example.Greeter/${method}`,
      "content-type": "application/grpc",
      te: "trailers",
      ...headers,
    });
  return {
    pingPong(content: string, gauge: Gauge) {
      const call = open("Chat");
      const request = requestFrame(content);
      let since = performance.now();
      const ended = untilStatus(call);
      onReplies(call, replyBytes(`Received: ${content}`), () => {
        since = gauge.roundTrip(since);
        if (gauge.running) call.write(request);
        else call.end();
      });
      call.write(request);
      return ended;
    },

    pipelined(content: string, window: number, gauge: Gauge) {
      const call = open("Chat");
      const request = requestFrame(content);
      const requests = Buffer.concat(Array.from({ length: window }, () => request));
      const ended = untilStatus(call);
      onReplies(call, replyBytes(`Received: ${content}`), (count) => {
        gauge.messages += count;
        if (gauge.running) call.write(requests.subarray(0, count * request.length));
        else call.end();
      });
      call.write(requests);
      return ended;
    },

    push(size: number, gauge: Gauge) {
      const call = open("Subscribe", { "bench-size": String(size) });
      const ended = untilStatus(call, true);
      const notification = create(NotificationSchema, { content: "x".repeat(size) });
      onReplies(call, 5 + toBinary(NotificationSchema, notification).length, (count) => {
        gauge.messages += count;
        if (!gauge.running) call.close(constants.NGHTTP2_CANCEL);
      });
      call.end(frame(new Uint8Array()));
      return ended;
    },

    async unary(content: string, gauge: Gauge) {
      const request = requestFrame(content);
      const bytes = replyBytes(`Hello, ${content}`);
      let since = performance.now();
      while (gauge.running) {
        const call = open("SayHello");
        const ended = untilStatus(call);
        onReplies(call, bytes, () => {});
        call.end(request);
        await ended;
        since = gauge.roundTrip(since);
      }
    },

    idle(content: string) {
      const call = open("Chat");
      untilStatus(call).catch(() => {});
      return new Promise<void>((resolve) => {
        onReplies(call, replyBytes(`Received: ${content}`), () => resolve());
        call.write(requestFrame(content));
      });
    },

    close: () => session.destroy(),
  };
});

function frame(message: Uint8Array): Buffer {
  const framed = Buffer.alloc(5 + message.length);
  framed.writeUInt32BE(message.length, 1);
  framed.set(message, 5);
  return framed;
}

function requestFrame(content: string): Buffer {
  return frame(toBinary(MessageRequestSchema, create(MessageRequestSchema, { content })));
}

function replyBytes(reply: string): number {
  return 5 + toBinary(MessageResponseSchema, create(MessageResponseSchema, { reply })).length;
}

/** Calls `onCount` with the number of replies, of `bytes` bytes each, that have become complete. */
function onReplies(call: ClientHttp2Stream, bytes: number, onCount: (count: number) => void): void {
  let pending = 0;
  call.on("data", (chunk: Buffer) => {
    pending += chunk.length;
    const count = Math.floor(pending / bytes);
    pending -= count * bytes;
    if (count > 0) onCount(count);
  });
}

/** Resolves when the call has ended with status 0; also when it was cancelled, if `cancelled` is true. */
function untilStatus(call: ClientHttp2Stream, cancelled = false): Promise<void> {
  return new Promise((resolve, reject) => {
    let status: unknown;
    const read = (headers: IncomingHttpHeaders) => {
      status = headers["grpc-status"] ?? status;
    };
    call.on("response", read);
    call.on("trailers", read);
    call.on("error", reject);
    call.on("close", () => {
      if (status === "0" || (cancelled && call.rstCode === constants.NGHTTP2_CANCEL)) resolve();
      else reject(new Error(`the call ended with grpc-status ${status}, RST ${call.rstCode}`));
    });
  });
}
