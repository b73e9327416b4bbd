/** The server of the soak, in a separate process: a line on stdin asks for a report. */
import { once } from "node:events";
import { createInterface } from "node:readline";
import { Greeter } from "../../gen/example/greeter_pb.js";
import { Code, ConnectError, createServer, type HandlerContext } from "../../src/server.ts";
import { type Sample, sample } from "./memory.ts";

export interface ServerReport extends Sample {
  /** Handlers that have started and not ended. */
  handlers: number;
  /** Errors that were logged since the previous report. */
  logged: number;
}

let handlers = 0;
let logged = 0;

/** Does what the request asks for: "wait", "fail", "throw", or anything else. */
async function obey(content: string, context: HandlerContext): Promise<void> {
  if (content === "fail") throw new ConnectError("failed on purpose", Code.Aborted);
  if (content === "throw") throw new Error("thrown on purpose");
  if (content === "wait" && !context.signal.aborted) await once(context.signal, "abort");
}

const server = createServer({
  logger: { error: () => logged++ },
  routes: (router) =>
    router.service(Greeter, {
      async sayHello({ content }, context) {
        handlers++;
        try {
          await obey(content, context);
          return { reply: `Hello, ${content}` };
        } finally {
          handlers--;
        }
      },
      async *chat(requests, context) {
        handlers++;
        try {
          for await (const { content } of requests) {
            await obey(content, context);
            yield { reply: `Received: ${content}` };
          }
        } finally {
          handlers--;
        }
      },
    }),
});
const { url } = await server.listen({ host: "127.0.0.1", port: 0 });
console.log(url);

for await (const _line of createInterface({ input: process.stdin })) {
  const report: ServerReport = { ...(await sample()), handlers, logged };
  logged = 0;
  console.log(JSON.stringify(report));
}
await server.close({ graceMs: 0 });
