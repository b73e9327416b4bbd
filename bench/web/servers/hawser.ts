/** Hawser's server, with WebSockets and without TLS. Argument: the origin of the page. */
import { Greeter } from "../../../gen/example/greeter_pb.js";
import { createServer } from "../../../src/server.ts";
import { emit, onCommand } from "../../commands.ts";
import { handlers } from "../../servers/handlers.ts";

const server = createServer({
  routes: (router) => router.service(Greeter, handlers),
  webSocket: { origins: process.argv.slice(2) },
});
const { port } = await server.listen({ host: "127.0.0.1", port: 0 });
onCommand(() => {});
emit({ event: "ready", address: `127.0.0.1:${port}` });
