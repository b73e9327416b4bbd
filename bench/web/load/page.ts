/** The page: it fetches its jobs, and posts what it has measured. Nothing drives its browser, which would slow it down. */
import { Greeter } from "../../../gen/example/greeter_pb.js";
import { createClient, createTransport } from "../../../src/web.ts";
import type { PageEvent, WebJob } from "../job.ts";
import { hawserLoops } from "./hawser.ts";
import { type Loops, load } from "./load.ts";
import { socketIo } from "./socket-io.ts";
import { leaveUnread, survive } from "./survival.ts";
import { binaryFrames, jsonArrays, jsonMessages } from "./web-sockets.ts";

const post = (event: PageEvent) => fetch("/event", { method: "POST", body: JSON.stringify(event) });
const tell = (event: "start" | "end" | "ready") => void post({ event });

function hawser(baseUrl: string, sessions: boolean): Loops {
  const transport = createTransport({ baseUrl, sessions });
  return hawserLoops(createClient(Greeter, transport), transport);
}

function loopsOf(peer: string, url: string): Loops {
  switch (peer) {
    case "hawser":
      return hawser(url, false);
    case "hawser sessions":
      return hawser(url, true);
    case "JSON messages":
      return jsonMessages(url);
    case "socket.io":
      return socketIo(url);
    case "JSON arrays":
      return jsonArrays(url);
    case "64 KiB frames":
      return binaryFrames(url);
    default:
      throw new Error(`${peer} is not in a page`);
  }
}

function run(job: WebJob) {
  switch (job.kind) {
    case "load":
      return load(job, loopsOf(job.peer, job.url), tell);
    case "loss":
      return survive(job, tell);
    case "unread":
      return leaveUnread(job);
  }
}

for (;;) {
  const job: WebJob = await (await fetch("/job")).json();
  try {
    await post({ event: "done", result: await run(job) });
  } catch (error) {
    await post({ event: "failed", error: String(error) });
  }
}
