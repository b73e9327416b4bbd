/** The calls of a server, as its observer is told of them. */
import type { DescMethod } from "@bufbuild/protobuf";
import { ConnectError, type StreamRequest, type UnaryRequest } from "@connectrpc/connect";
import type { Caller } from "../caller.ts";
import { callerKey } from "../grpc/caller.ts";
import { type Incoming, readTimeout } from "../grpc/incoming.ts";
import { rawToHeaders, withoutSessions } from "../grpc/metadata.ts";
import { parseTimeout } from "../grpc/timeout.ts";
import type { ObservedServerCall } from "../observe/events.ts";

/** A call on Hawser's own data path. What few observers read is made when it is first read. */
export class GrpcRequest implements ObservedServerCall {
  readonly protocol = "grpc";
  readonly method: DescMethod;
  readonly #incoming: Incoming;
  #header: Headers | undefined;

  constructor(incoming: Incoming, method: DescMethod) {
    this.method = method;
    // Not the request itself: a session outlives its connection, which that would keep in memory.
    const { fields, rawHeaders, caller } = incoming;
    this.#incoming = { fields, rawHeaders, caller };
  }

  get caller(): Caller {
    return this.#incoming.caller;
  }

  get header(): Headers {
    this.#header ??= rawToHeaders(withoutSessions(this.#incoming.rawHeaders));
    return this.#header;
  }

  get timeoutMs(): number | undefined {
    const timeout = readTimeout(this.#incoming.fields, Number.POSITIVE_INFINITY);
    return timeout instanceof ConnectError ? undefined : timeout;
  }
}

/** A call that Connect's handlers serve. */
export function connectRequest(request: UnaryRequest | StreamRequest): ObservedServerCall {
  const { method, header, contextValues } = request;
  const protocol = protocolOf(header.get("content-type") ?? "");
  const caller = contextValues.get(callerKey) as Caller;
  return { method, header, caller, protocol, timeoutMs: timeoutOf(header) };
}

function protocolOf(contentType: string): ObservedServerCall["protocol"] {
  if (/^application\/grpc-web/i.test(contentType)) return "grpc-web";
  return /^application\/grpc/i.test(contentType) ? "grpc" : "connect";
}

/** Connect's handlers have refused a timeout that is not valid before. */
function timeoutOf(header: Headers): number | undefined {
  const ofConnect = header.get("connect-timeout-ms");
  if (ofConnect !== null) return Number(ofConnect);
  const ofGrpc = header.get("grpc-timeout");
  return ofGrpc === null ? undefined : parseTimeout(ofGrpc);
}
