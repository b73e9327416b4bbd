import { Greeter } from "../../gen/example/greeter_pb.js";
import { createClient, createTransport } from "../../src/index.ts";
import { type Caller, type Gauge, type Target, urlOf, Window } from "./drive.ts";

/** Makes a Hawser client with default options except `sessions`. */
export function caller(target: Target, session: boolean): Caller {
  const { ca } = target;
  const transport = createTransport({
    baseUrl: urlOf(target),
    sessions: session,
    ...(ca !== undefined && { tls: { ca } }),
  });
  const greeter = createClient(Greeter, transport);
  return {
    async pingPong(content: string, gauge: Gauge) {
      const chat = greeter.chat();
      let since = performance.now();
      await chat.send({ content });
      for await (const _reply of chat) {
        since = gauge.roundTrip(since);
        if (gauge.running) await chat.send({ content });
        else chat.closeSend();
      }
    },

    async pipelined(content: string, size: number, gauge: Gauge) {
      const chat = greeter.chat();
      const window = new Window(size);
      const send = async () => {
        while (gauge.running) {
          const acquired = window.acquire();
          if (acquired !== undefined) await acquired;
          await chat.send({ content });
        }
        chat.closeSend();
      };
      const receive = async () => {
        for await (const _reply of chat) {
          gauge.reply();
          window.release();
        }
      };
      await Promise.all([send(), receive()]);
    },

    async push(size: number, gauge: Gauge) {
      const headers = { "bench-size": String(size) };
      for await (const _notification of greeter.subscribe({}, { headers })) {
        gauge.reply();
        if (!gauge.running) break;
      }
    },

    async unary(content: string, gauge: Gauge) {
      let since = performance.now();
      while (gauge.running) {
        await greeter.sayHello({ content });
        since = gauge.roundTrip(since);
      }
    },

    async idle(content: string) {
      const chat = greeter.chat();
      const replies = chat[Symbol.asyncIterator]();
      await chat.send({ content });
      await replies.next();
      // The application waits for the next reply too.
      replies.next().catch(() => {});
    },

    close: () => transport.close(),
  };
}
