import { Greeter } from "../../gen/example/greeter_pb.js";
import { createServer } from "../../src/server.ts";
import { emit, onCommand } from "../commands.ts";
import { ownCertificate } from "../tls.ts";
import { handlers } from "./handlers.ts";

const tls = ownCertificate();
const server = createServer({
  routes: (router) => router.service(Greeter, handlers),
  ...(tls !== undefined && { tls }),
});
const { port } = await server.listen({ host: "127.0.0.1", port: 0 });
onCommand(() => {});
emit({ event: "ready", address: `127.0.0.1:${port}` });
