/**
 * The way of a message in a session: the functions of src/ that run for one message there and one back, and how many
 * times. V8's precise coverage counts them during round trips of a bidirectional call, both ends in this process.
 *
 *     npm run walk
 *
 * Counted are functions that other files can call: exported ones, and methods whose name has no #; getters are not.
 * 2.0 stands beside a function that both ends run. A file is counted too if only private functions of it run.
 */
import { readFileSync } from "node:fs";
import { type Profiler, Session } from "node:inspector/promises";
import { Greeter } from "../gen/example/greeter_pb.js";
import { createClient, createTransport } from "../src/index.ts";
import { createServer } from "../src/server.ts";

const ROUND_TRIPS = 2000;

/** Round trips before the count, so that nothing of the beginning of the call is counted. */
const WARM_UP = 1000;

/** A function with fewer calls for each round trip serves many messages at a time. */
const MIN_CALLS = 0.5;

/**
 * Files that help others with a detail: the fields of a message, the prefix of a frame, memory and text. A message passes
 * them only as bytes. They are marked, and the last line counts the way without them.
 */
const DETAILS =
  /^(codec\/(decoder|wire-input|encoded-once)|flow\/(length-prefix|runtime)|node\/runtime)\.ts$/;

/** Runs the round trips; returns how many times each function of the process was called meanwhile. */
async function count(): Promise<Profiler.ScriptCoverage[]> {
  await using server = createServer({
    routes: (router) => {
      router.service(Greeter, {
        async *chat(requests) {
          for await (const { content } of requests) yield { reply: content };
        },
      });
    },
  });
  const { url } = await server.listen({ host: "127.0.0.1", port: 0 });
  await using transport = createTransport({ baseUrl: url, sessions: true });
  await using chat = createClient(Greeter, transport).chat();
  const replies = chat[Symbol.asyncIterator]();
  const exchange = async (times: number) => {
    for (let n = 0; n < times; n++) {
      await chat.send({ content: "ahoy" });
      await replies.next();
    }
  };
  const session = new Session();
  session.connect();
  await session.post("Profiler.enable");
  await session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: false });
  await exchange(WARM_UP);
  // Taking the counts sets them to zero.
  await session.post("Profiler.takePreciseCoverage");
  await exchange(ROUND_TRIPS);
  const { result } = await session.post("Profiler.takePreciseCoverage");
  session.disconnect();
  return result;
}

/** Whether other files can call a function, whose file has this text. */
function isReachable({ functionName, ranges }: Profiler.FunctionCoverage, text: string): boolean {
  if (/^$|^#|^get /.test(functionName)) return false;
  const start = ranges[0]?.startOffset ?? 0;
  const isMethod = /^(?:async )?\*?(\w+)\(/.exec(text.slice(start))?.[1] === functionName;
  return isMethod || text.slice(0, start).endsWith("export ");
}

const source = new URL("../src/", import.meta.url).href;
const all = { functions: 0, calls: 0, files: 0 };
const details = { functions: 0, calls: 0, files: 0 };
/** The functions of HTTP/2 itself. */
const http2 = { functions: 0, calls: 0, files: 0 };
const scripts = (await count()).filter(({ url }) => url.startsWith(source));
for (const { url, functions } of scripts.sort((a, b) => (a.url < b.url ? -1 : 1))) {
  const text = readFileSync(new URL(url), "utf8");
  const running = functions
    .map((one) => ({ one, calls: (one.ranges[0]?.count ?? 0) / ROUND_TRIPS }))
    .filter(({ calls }) => calls >= MIN_CALLS);
  if (running.length === 0) continue;
  const path = url.slice(source.length);
  const isDetail = DETAILS.test(path);
  const reachable = running.filter(({ one }) => isReachable(one, text));
  const remark = reachable.length === 0 ? ": private functions" : "";
  console.log(`src/${path}${isDetail ? " (a detail)" : ""}${remark}`);
  for (const { one, calls } of reachable)
    console.log(`    ${calls.toFixed(1)}  ${one.functionName}`);
  const sums = path.startsWith("http2/") ? [all, http2] : isDetail ? [all, details] : [all];
  for (const sum of sums) {
    sum.files++;
    sum.functions += reachable.length;
    for (const { calls } of reachable) sum.calls += calls;
  }
}
const { functions, calls, files } = all;
console.log(`
${calls.toFixed(0)} calls of ${functions} functions in ${files} files; without the details \
${(calls - details.calls).toFixed(0)} calls of ${functions - details.functions} functions in ${files - details.files} files;
of these src/http2/ has ${http2.calls.toFixed(0)} calls of ${http2.functions} functions in ${http2.files} files`);
