import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { Greeter } from "../../gen/example/greeter_pb.js";
import { drive, type Gauge, urlOf, Window } from "./drive.ts";

drive((target) => {
  const baseUrl = urlOf(target);
  // The default session manager of the transport, made here so that it can be closed.
  const sessionManager = new Http2SessionManager(baseUrl);
  const greeter = createClient(Greeter, createGrpcTransport({ baseUrl, sessionManager }));
  return {
    async pingPong(content: string, gauge: Gauge) {
      const window = new Window(1);
      async function* requests() {
        while (gauge.running) {
          await window.acquire();
          yield { content };
        }
      }
      let since = performance.now();
      for await (const _reply of greeter.chat(requests())) {
        since = gauge.roundTrip(since);
        window.release();
      }
    },

    async pipelined(content: string, size: number, gauge: Gauge) {
      const window = new Window(size);
      async function* requests() {
        while (gauge.running) {
          const acquired = window.acquire();
          if (acquired !== undefined) await acquired;
          yield { content };
        }
      }
      for await (const _reply of greeter.chat(requests())) {
        gauge.reply();
        window.release();
      }
    },

    async push(size: number, gauge: Gauge) {
      const abort = new AbortController();
      const headers = { "bench-size": String(size) };
      try {
        for await (const _notification of greeter.subscribe(
          {},
          { headers, signal: abort.signal },
        )) {
          gauge.reply();
          if (!gauge.running) abort.abort();
        }
      } catch (error) {
        if (ConnectError.from(error).code !== Code.Canceled || gauge.running) throw error;
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
      async function* requests() {
        yield { content };
        await new Promise<never>(() => {});
      }
      const replies = greeter.chat(requests())[Symbol.asyncIterator]();
      await replies.next();
      replies.next().catch(() => {});
    },

    close: () => sessionManager.abort(),
  };
});
