/** A server of Hawser, of connect-node and of grpc-js, each with its defaults. */
import { once } from "node:events";
import * as http2 from "node:http2";
import type { AddressInfo } from "node:net";
import type { DescService } from "@bufbuild/protobuf";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import * as grpc from "@grpc/grpc-js";
import { vi } from "vitest";
import { Greeter } from "../../gen/example/greeter_pb.js";
import { type ConnectRouter, createServer, type ServiceImpl } from "../../src/server.ts";
import { serviceDefinition } from "./grpc-js.ts";

export type Handlers = Partial<ServiceImpl<typeof Greeter>>;
export type Routes = (router: ConnectRouter) => void;

const routesOf = (given: Handlers | Routes): Routes =>
  typeof given === "function" ? given : (router) => void router.service(Greeter, given);

export interface Server {
  readonly port: number;
  /** `http://127.0.0.1:port` */
  readonly url: string;
  /** How often it has logged an error. */
  readonly logged: () => number;
}

/** The functions that close what a test has opened. */
export const open: (() => unknown)[] = [];

/** Closes what a test has opened, the newest first; call it after each test. */
export async function closeAll(): Promise<void> {
  vi.restoreAllMocks();
  for (const close of open.splice(0).reverse()) await close();
}

export async function hawser(given: Handlers | Routes): Promise<Server> {
  const error = vi.fn();
  const server = createServer({
    routes: routesOf(given),
    logger: { error },
  });
  const { port = 0 } = await server.listen({ port: 0 });
  open.push(() => server.close({ graceMs: 0 }));
  return { ...at(port), logged: () => error.mock.calls.length };
}

export async function connectNode(given: Handlers | Routes): Promise<Server> {
  const server = http2.createServer(connectNodeAdapter({ routes: routesOf(given) }));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  open.push(() => void server.close());
  return { ...at((server.address() as AddressInfo).port), logged: consoleErrors() };
}

export async function grpcJs(
  handlers: grpc.UntypedServiceImplementation,
  service: DescService = Greeter,
): Promise<Server> {
  const server = new grpc.Server();
  const logged = consoleErrors();
  server.addService(serviceDefinition(service), handlers);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  open.push(() => server.forceShutdown());
  return { ...at(port), logged };
}

const at = (port: number) => ({ port, url: `http://127.0.0.1:${port}` });

function consoleErrors(): () => number {
  const spy = vi.spyOn(console, "error").mockImplementation(() => {});
  return () => spy.mock.calls.length;
}
