/** The scenarios that the client program runs. */
import { type Client, createClient, createTransport, type TransportOptions } from "hawser";
import { Greeter } from "hawser/gen/example/greeter_pb.js";
import type { ClientInput, Request } from "./messages.ts";

/** The server, and the network in between. */
export interface Peer extends ClientInput {
  /** Resolves when the run has done it; for rooms with their URL. */
  ask(request: Request): Promise<string>;
}

export interface Scenario {
  /** The behaviour, as docs/runtimes.md lists it. */
  readonly name: string;
  readonly run: (peer: Peer) => Promise<void>;
  /** The only client that runs it: that of Node, or that of a run of a runtime with itself. Default: each. */
  readonly on?: "Node" | "itself";
  /** Whether it runs beside all others, because it waits for times of the server. Default: false. */
  readonly waits?: boolean;
}

/** A Greeter client with a transport of its own. */
export interface GreeterClient extends AsyncDisposable {
  readonly greeter: Client<typeof Greeter>;
}

export function greeterAt(
  baseUrl: string,
  options: Omit<TransportOptions, "baseUrl"> = {},
): GreeterClient {
  const transport = createTransport({ ...options, baseUrl });
  return {
    greeter: createClient(Greeter, transport),
    [Symbol.asyncDispose]: () => transport.close(),
  };
}
