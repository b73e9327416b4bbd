import * as grpc from "@grpc/grpc-js";
import {
  Greeter,
  type MessageRequest,
  type MessageResponse,
  type Notification,
} from "../grpc-js.ts";
import { drive, type Gauge } from "./drive.ts";

type Chat = grpc.ClientDuplexStream<MessageRequest, MessageResponse>;

interface GreeterClient extends grpc.Client {
  sayHello(request: MessageRequest, callback: grpc.requestCallback<MessageResponse>): void;
  chat(): Chat;
  subscribe(request: object, metadata: grpc.Metadata): grpc.ClientReadableStream<Notification>;
}

drive(({ address, ca }) => {
  const { createInsecure, createSsl } = grpc.credentials;
  // Without a shared pool, so that each client has its own connection.
  const client = new Greeter(address, ca === undefined ? createInsecure() : createSsl(ca), {
    "grpc.use_local_subchannel_pool": 1,
  }) as unknown as GreeterClient;
  return {
    pingPong(content: string, gauge: Gauge) {
      const chat = client.chat();
      let since = performance.now();
      chat.on("data", () => {
        since = gauge.roundTrip(since);
        if (gauge.running) chat.write({ content });
        else chat.end();
      });
      chat.write({ content });
      return untilStatus(chat);
    },

    pipelined(content: string, window: number, gauge: Gauge) {
      const chat = client.chat();
      let free = window;
      let drained = true;
      const fill = () => {
        while (drained && free > 0) {
          free--;
          drained = chat.write({ content });
        }
        if (!drained) {
          chat.once("drain", () => {
            drained = true;
            if (gauge.running) fill();
          });
        }
      };
      chat.on("data", () => {
        gauge.reply();
        free++;
        if (!gauge.running) chat.end();
        else if (drained) fill();
      });
      fill();
      return untilStatus(chat);
    },

    push(size: number, gauge: Gauge) {
      const metadata = new grpc.Metadata();
      metadata.set("bench-size", String(size));
      const push = client.subscribe({}, metadata);
      push.on("data", () => {
        gauge.reply();
        if (!gauge.running) push.cancel();
      });
      return untilStatus(push, grpc.status.CANCELLED);
    },

    async unary(content: string, gauge: Gauge) {
      let since = performance.now();
      while (gauge.running) {
        await new Promise<void>((resolve, reject) => {
          client.sayHello({ content }, (error) => (error === null ? resolve() : reject(error)));
        });
        since = gauge.roundTrip(since);
      }
    },

    idle(content: string) {
      const chat = client.chat();
      chat.on("error", () => {});
      return new Promise<void>((resolve) => {
        chat.on("data", () => resolve());
        chat.write({ content });
      });
    },

    close: () => client.close(),
  };
});

function untilStatus(
  call: Chat | grpc.ClientReadableStream<Notification>,
  expected: grpc.status = grpc.status.OK,
): Promise<void> {
  return new Promise((resolve, reject) => {
    call.on("error", () => {});
    call.on("status", ({ code, details }: grpc.StatusObject) => {
      if (code === expected) resolve();
      else reject(new Error(`status ${code}: ${details}`));
    });
  });
}
