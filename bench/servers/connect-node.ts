import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { Greeter } from "../../gen/example/greeter_pb.js";
import { emit, onCommand } from "../commands.ts";
import { handlers } from "./handlers.ts";

const server = createServer(
  connectNodeAdapter({ routes: (router) => router.service(Greeter, handlers) }),
);
server.listen(0, "127.0.0.1", () => {
  onCommand(() => {});
  emit({ event: "ready", address: `127.0.0.1:${(server.address() as AddressInfo).port}` });
});
