// The example Greeter in a process of its own, to be killed. argv[2] is its port, or the path of its Unix socket; the
// first line that it prints is its URL.
import { Greeter } from "../../../gen/example/greeter_pb.js";
import { greeter } from "../../../src/example/greeter.ts";
import { createServer } from "../../../src/server.ts";

const at = process.argv[2] ?? "0";
const server = createServer({ routes: (router) => router.service(Greeter, greeter) });
const { url } = await server.listen(at.startsWith("/") ? { path: at } : { port: Number(at) });
console.log(url);
