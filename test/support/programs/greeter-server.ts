// The example Greeter in a separate process, which tests kill. argv[2] is its port, or the path of its Unix socket, argv[3]
// for how many milliseconds it keeps sessions; the first line that it prints is its URL.

import { greeter } from "../../../examples/greeter/handlers.ts";
import { Greeter } from "../../../gen/example/greeter_pb.js";
import { createServer } from "../../../src/server.ts";

const at = process.argv[2] ?? "0";
const grace = process.argv[3];
const server = createServer({
  routes: (router) => router.service(Greeter, greeter),
  ...(grace === undefined ? {} : { sessions: { graceMs: Number(grace) } }),
});
const { url } = await server.listen(at.startsWith("/") ? { path: at } : { port: Number(at) });
console.log(url);
