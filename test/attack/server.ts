/** The server that floods.ts, holds.ts and honest.ts load, as a program: the Greeter of the interop suite. Prints its port. */
import { Greeter } from "../../gen/example/greeter_pb.js";
import { createServer } from "../../src/server.ts";
import { switchedGreeter } from "../interop/greeter.ts";

const server = createServer({ routes: (router) => router.service(Greeter, switchedGreeter()) });
const { port } = await server.listen({ port: 0 });
console.log(port);
