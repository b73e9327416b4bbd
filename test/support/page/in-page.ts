/** The page's end of the channel: the calls of a test that are made here, by hawser/web. */
import type { DescService } from "@bufbuild/protobuf";
import { Greeter } from "../../../gen/example/greeter_pb.js";
import { createClient, createTransport, type TransportOptions } from "../../../src/web.ts";
import { TestService } from "../../interop/gen/grpc/testing/test_pb.js";
import { openConnections, openStreams, pingsOf } from "../http2-census.ts";
import { AT_ONCE } from "./at-once.ts";
import { End } from "./end.ts";
import { ofRemote, type RemoteInterceptor } from "./interceptors.ts";

const services = new Map<string, DescService>(
  [Greeter, TestService].map((service) => [service.typeName, service]),
);

const webSockets: WebSocket[] = [];
/** A channel of the test's own, which is not counted. */
const channel = new WebSocket(new URL("/channel", location.href.replace("http", "ws")));

globalThis.WebSocket = class extends WebSocket {
  constructor(...args: ConstructorParameters<typeof WebSocket>) {
    super(...args);
    webSockets.push(this);
  }
};

type Transport = ReturnType<typeof createTransport>;
type PageOptions = Omit<TransportOptions, "interceptors"> & { interceptors?: RemoteInterceptor[] };
type Call = (...args: unknown[]) => unknown;

/** What the test calls here. */
const root = {
  createTransport({ interceptors, ...options }: PageOptions) {
    return createTransport({
      ...options,
      ...(interceptors && { interceptors: interceptors.map(ofRemote) }),
    });
  },

  /** Makes a call: a promise if it is unary, or has all its requests in an iterable. */
  makeCall(service: string, method: string, transport: Transport, ...args: unknown[]): unknown {
    const client = createClient(services.get(service) as DescService, transport);
    return (client as unknown as Record<string, Call>)[method]?.(...args);
  },

  census: () => ({
    streams: openStreams("client"),
    http2Connections: openConnections(),
    pings: pingsOf("client"),
    openedWebSockets: webSockets.length,
    openWebSockets: webSockets.filter(({ readyState }) => readyState <= WebSocket.OPEN).length,
  }),
};

const end = new End({
  root,
  post: (text) => channel.send(text),
  later: inLaterTask(),
  describe(value) {
    if ("onState" in value) return ["call"];
    if ("stats" in value && "close" in value) return ["transport"];
    return undefined;
  },
});

channel.onmessage = ({ data }: MessageEvent<string>) => {
  if (data.startsWith(AT_ONCE)) channel.send(AT_ONCE + end.perform(data.slice(AT_ONCE.length)));
  else end.receive(data);
};

/** A timer would wait for 4 ms. */
function inLaterTask(): (run: () => void) => void {
  const { port1, port2 } = new MessageChannel();
  let next = () => {};
  port1.onmessage = () => next();
  return (run) => {
    next = run;
    port2.postMessage(undefined);
  };
}
