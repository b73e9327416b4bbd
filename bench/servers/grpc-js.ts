import * as grpc from "@grpc/grpc-js";
import { emit, onCommand } from "../commands.ts";
import {
  Greeter,
  type MessageRequest,
  type MessageResponse,
  type Notification,
} from "../grpc-js.ts";
import { ownCertificate } from "../tls.ts";

const server = new grpc.Server();
server.addService(Greeter.service, {
  sayHello(
    call: grpc.ServerUnaryCall<MessageRequest, MessageResponse>,
    callback: grpc.sendUnaryData<MessageResponse>,
  ) {
    callback(null, { reply: `Hello, ${call.request.content}` });
  },
  chat(call: grpc.ServerDuplexStream<MessageRequest, MessageResponse>) {
    call.on("data", ({ content }: MessageRequest) => {
      if (call.write({ reply: `Received: ${content}` })) return;
      call.pause();
      call.once("drain", () => call.resume());
    });
    call.on("end", () => call.end());
  },
  subscribe(call: grpc.ServerWritableStream<object, Notification>) {
    const content = "x".repeat(Number(call.metadata.get("bench-size")[0]));
    let sent = 0;
    const write = () => {
      while (!call.cancelled && call.write({ content })) sent++;
      if (call.cancelled) return;
      // If the socket never blocks, all "drain" events run in the same turn of the event loop, and the cancel is never
      // read. So every 1000 messages the handler waits for the next turn.
      call.once("drain", sent < 1000 ? write : () => setImmediate(write));
      sent %= 1000;
    };
    write();
  },
});
const certificate = ownCertificate();
const credentials =
  certificate === undefined
    ? grpc.ServerCredentials.createInsecure()
    : grpc.ServerCredentials.createSsl(null, [
        { cert_chain: certificate.cert, private_key: certificate.key },
      ]);
server.bindAsync("127.0.0.1:0", credentials, (error, port) => {
  if (error !== null) throw error;
  onCommand(() => {});
  emit({ event: "ready", address: `127.0.0.1:${port}` });
});
