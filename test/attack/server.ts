/**
 * The server that the other files of this folder load, as a program: the Greeter of the interop suite, or with the argument
 * "echo" one that costs little itself. Prints its port; for each line on its stdin, one: what it holds, as JSON.
 */
import { createInterface } from "node:readline";
import { Greeter } from "../../gen/example/greeter_pb.js";
import { createServer, type ServiceImpl } from "../../src/server.ts";
import { switchedGreeter } from "../interop/greeter.ts";
import { memoryInUse } from "../support/memory.ts";

export interface TargetReport {
  readonly calls: number;
  /** Heap and external memory, without garbage, in bytes. */
  readonly usedBytes: number;
  /** The part of it that is external, in bytes. */
  readonly externalBytes: number;
}

const echo: Partial<ServiceImpl<typeof Greeter>> = {
  sayHello: ({ content }) => ({ reply: content }),
  async *chat(requests) {
    for await (const { content } of requests) yield { reply: content };
  },
};
const greeter = process.argv[2] === "echo" ? echo : switchedGreeter();
const server = createServer({ routes: (router) => router.service(Greeter, greeter) });
const { port } = await server.listen({ port: 0 });
console.log(port);
for await (const _ of createInterface({ input: process.stdin })) {
  const usedBytes = await memoryInUse();
  const report: TargetReport = {
    calls: server.openCalls,
    usedBytes,
    externalBytes: process.memoryUsage().external,
  };
  console.log(JSON.stringify(report));
}
