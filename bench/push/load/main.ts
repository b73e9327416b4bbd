/** The process that loads the servers of bench/push. */
import { emit, onCommand } from "../../commands.ts";
import type { PushJob } from "../job.ts";
import { fanOut, waitIdle } from "./fan-out.ts";
import { post } from "./posters.ts";

let released = Promise.withResolvers<void>();

onCommand<PushJob>(({ job, release }) => {
  if (release) released.resolve();
  if (job === undefined) return;
  released = Promise.withResolvers();
  work(job).catch((error: unknown) => emit({ event: "failed", error: String(error) }));
});
emit({ event: "ready" });

async function work(job: PushJob): Promise<void> {
  switch (job.kind) {
    case "fan-out":
      return await fanOut(job);
    case "watchers":
      return await waitIdle(job, released.promise);
    case "post":
      return await post(job);
    case "append":
      throw new Error("append runs in the process of the log");
  }
}
