// A Greeter with sessions in a separate process, for crowds. The first line that it prints is its port. For each
// line on its stdin it prints one: what it holds, as JSON.
import { createInterface } from "node:readline";
import { Greeter } from "../../gen/example/greeter_pb.js";
import { createServer } from "../../src/server.ts";
import { memoryInUse } from "../support/memory.ts";

/** Resources of the server process. */
export interface CrowdReport {
  /** Calls that are open, with a connection or without. */
  readonly calls: number;
  /** How many handlers were ever started. */
  readonly runs: number;
  /** Heap and buffers, in bytes, garbage aside. */
  readonly bytes: number;
  /** About the highest heap since the previous report, in bytes, garbage included. */
  readonly peakBytes: number;
}

let runs = 0;
let peakBytes = 0;
const server = createServer({
  routes: (router) =>
    router.service(Greeter, {
      sayHello: ({ content }) => ({ reply: content }),
      async *chat(requests) {
        runs++;
        for await (const { content } of requests) yield { reply: content };
      },
    }),
  ...JSON.parse(process.argv[2] ?? "{}"),
});
const { port } = await server.listen({ port: 0 });
console.log(port);
setInterval(() => {
  const { heapUsed, external } = process.memoryUsage();
  peakBytes = Math.max(peakBytes, heapUsed + external);
}, 50).unref();

for await (const _ of createInterface({ input: process.stdin })) {
  const report: CrowdReport = {
    calls: server.openCalls,
    runs,
    bytes: await memoryInUse(),
    peakBytes,
  };
  peakBytes = 0;
  console.log(JSON.stringify(report));
}
await server.close({ graceMs: 0 });
