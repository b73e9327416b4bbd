// The example Greeter in a process of its own, to be killed. argv[2] is its port, or the path of its Unix socket, argv[3]
// for how many milliseconds it keeps sessions; the first line that it prints is its URL.
import { Greeter } from "../../../gen/example/greeter_pb.js";
import { greeter } from "../../../src/example/greeter.ts";
import { createServer } from "../../../src/server.ts";

const at = process.argv[2] ?? "0";
const grace = process.argv[3];
const server = createServer({
  routes: (router) => router.service(Greeter, greeter),
  ...(grace === undefined ? {} : { sessions: { graceMs: Number(grace) } }),
});
const { url } = await server.listen(at.startsWith("/") ? { path: at } : { port: Number(at) });
console.log(url);
