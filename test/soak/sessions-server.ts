/**
 * The server of the sessions' soak, in a separate process: a line on stdin asks for a report. Its argument is how long it keeps a
 * session without a connection, in milliseconds.
 */
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { Greeter } from "../../gen/example/greeter_pb.js";
import { createServer, type HandlerContext } from "../../src/server.ts";
import { SessionRegistry } from "../../src/session/registry.ts";
import { census } from "../support/census.ts";
import { sample } from "./memory.ts";
import { finalReply, messageOf, noWrongs, Sequence, type Wrongs } from "./sequence.ts";

export interface SessionsReport extends Wrongs {
  /** Requests that handlers took. */
  received: number;
  /** The count of attachments since the start. */
  resumes: number;
  /** Handlers that have started and not ended. */
  handlers: number;
  /** Sessions that are kept, and what they keep. */
  sessions: number;
  keptBytes: number;
  streams: number;
  /** Bytes of the heap, garbage included, unless the report is one "at rest". */
  heapBytes: number;
  /** Chats that have a handler of the name. */
  begun: number;
  failures: string[];
  peakRssBytes: number;
}

const registries = new Set<SessionRegistry>();
const wrongs = noWrongs();
const begun = new Set<number>();
let received = 0;
let resumes = 0;
let handlers = 0;
const failures: string[] = [];

// The registry is private to the server; here it is read from outside.
const { admit } = SessionRegistry.prototype;
SessionRegistry.prototype.admit = function (arrival) {
  registries.add(this);
  const refusal = admit.call(this, arrival);
  if (refusal === undefined && arrival.ask.attach > 1) resumes++;
  return refusal;
};

async function* chat(
  requests: AsyncIterable<{ content: string }>,
  { requestHeader }: HandlerContext,
): AsyncGenerator<{ reply: string }> {
  const number = (name: string) => Number(requestHeader.get(name));
  const id = number("x-chat");
  const cancelled = requestHeader.has("x-cancelled");
  if (begun.has(id)) failures.push(`chat ${id} has two handlers`);
  begun.add(id);
  handlers++;
  const sequence = new Sequence(id, wrongs);
  const take = ({ content }: { content: string }) => {
    received++;
    sequence.take(content);
  };
  try {
    const push = number("x-push");
    let replies = 0;
    if (push > 0) {
      const reading = (async () => {
        for await (const request of requests) take(request);
      })();
      reading.catch(() => {});
      while (replies < push) {
        if (replies % 256 === 255) await pause(replies % 16);
        yield { reply: messageOf(id, replies++) };
      }
      await reading;
    } else {
      const endAfter = number("x-end-after") || Number.POSITIVE_INFINITY;
      for await (const request of requests) {
        take(request);
        yield { reply: messageOf(id, replies++) };
        if (sequence.received === endAfter) break;
      }
    }
    yield { reply: finalReply(sequence.received, replies) };
    if (cancelled) failures.push(`chat ${id} was cancelled, and its handler came to its end`);
  } catch (error) {
    if (!cancelled) failures.push(`the handler of chat ${id}: ${error}`);
  } finally {
    sequence.end();
    handlers--;
  }
}

const server = createServer({
  logger: { error: (...words) => failures.push(words.join(" ")) },
  routes: (router) => router.service(Greeter, { chat }),
  sessions: { graceMs: Number(process.argv[2]) },
  webSocket: {},
});
process.on("unhandledRejection", (error) => failures.push(`unhandled: ${error}`));
const { port } = await server.listen({ host: "127.0.0.1", port: 0 });
console.log(port);

for await (const line of createInterface({ input: process.stdin })) {
  const { heapBytes } =
    line === "at rest" ? await sample() : { heapBytes: process.memoryUsage().heapUsed };
  const report: SessionsReport = {
    ...wrongs,
    received,
    resumes,
    handlers,
    sessions: [...registries].reduce((sum, { size }) => sum + size, 0),
    keptBytes: [...registries].reduce((sum, { bytes }) => sum + bytes, 0),
    streams: census.serverStreams,
    heapBytes,
    begun: begun.size,
    failures: failures.slice(0, 20),
    peakRssBytes: process.resourceUsage().maxRSS * 1024,
  };
  console.log(JSON.stringify(report));
}
await server.close({ graceMs: 0 });
