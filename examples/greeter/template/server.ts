import { Greeter } from "hawser/gen/example/greeter_pb.js";
import { createServer } from "hawser/server";
import { greeter } from "../handlers.ts";

const server = createServer({
  routes: (router) => router.service(Greeter, greeter),
  reflection: true,
  health: true,
});

const { HOST: host = "127.0.0.1", PORT: port = "50051" } = process.env;
const { url } = await server.listen({ host, port: Number(port) });
console.log(`listening on ${url}`);

// Open calls may finish within 10 s.
const close = () => server.close({ graceMs: 10_000 });
process.on("SIGINT", close);
process.on("SIGTERM", close);
