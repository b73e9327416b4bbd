/** The load of "hawser tcp": the loops of the page, on Node. */
import { Greeter } from "../../../gen/example/greeter_pb.js";
import { createClient, createTransport } from "../../../src/index.ts";
import { emit, onCommand } from "../../commands.ts";
import type { LoadJob } from "../job.ts";
import { hawserLoops } from "./hawser.ts";
import { load } from "./load.ts";

onCommand<LoadJob>(({ job }) => {
  if (job === undefined) return;
  const transport = createTransport({ baseUrl: job.url, sessions: false });
  const loops = hawserLoops(createClient(Greeter, transport), transport);
  load(job, loops, (event) => emit({ event: event === "start" ? "start" : "end" })).then(
    ({ messages, ms }) => emit({ event: "done", messages, ms }),
    (error) => emit({ event: "failed", error: String(error) }),
  );
});
emit({ event: "ready" });
