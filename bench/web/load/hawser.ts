import type { Greeter } from "../../../gen/example/greeter_pb.js";
import type { Client } from "../../../src/client-entry.ts";
import type { Loops } from "./load.ts";

/** The loops of Hawser: the same in a page and on Node. Without an end of their own: its windows are its backpressure. */
export function hawserLoops(
  greeter: Client<typeof Greeter>,
  transport: { close(): Promise<void> },
): Loops {
  return {
    async echo(size, gauge) {
      const content = "x".repeat(size);
      const chat = greeter.chat();
      const send = async () => {
        while (gauge.running) await chat.send({ content });
        chat.closeSend();
      };
      const receive = async () => {
        for await (const { reply } of chat) {
          if (reply.length < size) throw new Error("a reply is too short");
          gauge.messages++;
        }
      };
      await Promise.all([send(), receive()]);
    },

    async push(size, gauge) {
      const headers = { "bench-size": `${size}` };
      for await (const { content } of greeter.subscribe({}, { headers })) {
        if (content.length !== size) throw new Error("a message has another length");
        gauge.messages++;
        if (!gauge.running) break;
      }
    },

    async "ping-pong"(size, gauge) {
      const content = "x".repeat(size);
      const chat = greeter.chat();
      await chat.send({ content });
      for await (const _reply of chat) {
        gauge.messages++;
        if (gauge.running) await chat.send({ content });
        else chat.closeSend();
      }
    },

    close: () => transport.close(),
  };
}
