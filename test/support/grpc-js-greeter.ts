/** The classic Greeter on a server of @grpc/grpc-js, with the switches that test/interop/README.md lists. */
import { create } from "@bufbuild/protobuf";
import { type Any, AnySchema, anyPack, timestampNow } from "@bufbuild/protobuf/wkt";
import * as grpc from "@grpc/grpc-js";
import {
  type CollectResponse,
  Greeter,
  type MessageRequest,
  type MessageResponse,
  MessageResponseSchema,
  type Notification,
  type SubscribeRequest,
} from "../../gen/example/greeter_pb.js";
import { ERROR_INFO, FAILURE_MESSAGE, Outcomes } from "../interop/greeter.ts";
import { encodeStatus, metadataOf, serviceDefinition } from "./grpc-js.ts";

type Reply = Pick<MessageResponse, "reply">;
type Call = grpc.ServerUnaryCall<unknown, unknown> | grpc.ServerDuplexStream<unknown, unknown>;

/** The details of a failure that `x-fail` asked for. */
export const FAILURE_DETAILS: readonly Any[] = [
  create(AnySchema, {
    typeUrl: `type.googleapis.com/${ERROR_INFO.type}`,
    value: ERROR_INFO.value,
  }),
  anyPack(MessageResponseSchema, create(MessageResponseSchema, { reply: "a detail" })),
];

export interface GrpcJsServer extends AsyncDisposable {
  readonly port: number;
  readonly url: string;
  /** Refuses new calls; resolves when the running ones have ended. */
  shutdown(): Promise<void>;
}

export async function startGrpcJsServer(): Promise<GrpcJsServer> {
  const server = new grpc.Server();
  const shutdown = () =>
    new Promise<void>((resolve, reject) => {
      server.tryShutdown((error) => (error ? reject(error) : resolve()));
    });
  server.addService(serviceDefinition(Greeter), handlers(shutdown));
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    shutdown,
    [Symbol.asyncDispose]: shutdown,
  };
}

function handlers(drain: () => Promise<void>): grpc.UntypedServiceImplementation {
  const calls = new Outcomes();

  function sayHello(
    call: grpc.ServerUnaryCall<MessageRequest, Reply>,
    callback: grpc.sendUnaryData<Reply>,
  ): void {
    const { asked, trailers, failure } = begin(call);
    const answer = (reply: string) => callback(null, { reply }, trailers);
    if (failure !== undefined) callback(failure);
    else if (asked("x-hold") !== undefined) {
      noteEnd(call, calls, asked("x-hold"));
      calls.put(`${asked("x-hold")} begun`, "yes");
    } else if (asked("x-ask") !== undefined) calls.of(String(asked("x-ask"))).then(answer);
    else if (asked("x-peer") !== undefined) answer(call.getPeer());
    else if (asked("x-deadline") !== undefined) {
      const leftMs = Number(call.getDeadline()) - Date.now();
      answer(Number.isFinite(leftMs) ? String(leftMs) : "none");
    } else answer(`Hello, ${call.request.content}`);
  }

  function chat(call: grpc.ServerDuplexStream<MessageRequest, Reply>): void {
    const { asked, trailers, failure } = begin(call);
    noteEnd(call, calls, asked("x-hold"));
    if (asked("x-headers-first") !== undefined) call.sendMetadata(new grpc.Metadata());
    if (asked("x-drain") !== undefined) void drain();
    const endAfter = Number(asked("x-end-after") ?? Number.POSITIVE_INFINITY);
    const late: Reply[] = [];
    let count = 0;
    let over = false;
    const end = () => {
      over = true;
      call.end(trailers);
    };
    call.on("drain", () => call.resume());
    call.on("data", ({ content }: MessageRequest) => {
      if (over) return;
      const reply = { reply: `Received: ${content}` };
      if (asked("x-late") !== undefined) late.push(reply);
      else if (!call.write(reply)) call.pause();
      if (failure !== undefined) {
        over = true;
        call.emit("error", failure);
      } else if (++count === endAfter) end();
    });
    call.on("end", () => {
      if (over) return;
      for (const reply of late) call.write(reply);
      end();
    });
    if (endAfter === 0) end();
    waitIfAsked(call, asked("x-wait"));
  }

  function collect(
    call: grpc.ServerReadableStream<MessageRequest, CollectResponse>,
    callback: grpc.sendUnaryData<Pick<CollectResponse, "count" | "bytes">>,
  ): void {
    const { asked, trailers, failure } = begin(call);
    noteEnd(call, calls, asked("x-hold"));
    if (asked("x-hold") !== undefined) calls.put(`${asked("x-hold")} begun`, "yes");
    if (failure !== undefined) callback(failure);
    let count = 0;
    let bytes = 0n;
    call.on("data", ({ content }: MessageRequest) => {
      count++;
      bytes += BigInt(Buffer.byteLength(content));
    });
    call.on("end", () => {
      if (failure === undefined) callback(null, { count, bytes }, trailers);
    });
    waitIfAsked(call, asked("x-wait"));
  }

  function subscribe(
    call: grpc.ServerWritableStream<SubscribeRequest, Partial<Notification>>,
  ): void {
    const { asked, trailers, failure } = begin(call);
    noteEnd(call, calls, asked("x-hold"));
    const { count, interval } = call.request;
    const intervalMs =
      interval === undefined ? 1000 : Number(interval.seconds) * 1000 + interval.nanos / 1e6;
    const content = asked("x-bytes") ? "x".repeat(Number(asked("x-bytes"))) : "notification";
    let sequence = 0n;
    let timer: NodeJS.Timeout | undefined;
    const next = () => {
      if (call.cancelled) return;
      if (count !== 0 && sequence >= count) {
        if (failure !== undefined) call.emit("error", failure);
        else call.end(trailers);
        return;
      }
      call.write({ sequence: ++sequence, content, time: timestampNow() }, () => {
        timer = setTimeout(next, intervalMs);
      });
    };
    call.on("cancelled", () => clearTimeout(timer));
    next();
  }

  return { sayHello, chat, collect, subscribe } as grpc.UntypedServiceImplementation;
}

/** Reads the switches, and sends the leading metadata that they ask for. */
function begin(call: Pick<Call, "metadata" | "sendMetadata">) {
  const leading = new grpc.Metadata();
  const trailers = new grpc.Metadata();
  for (const name of Object.keys(call.metadata.getMap())) {
    const to = name.startsWith("x-lead") ? leading : name.startsWith("x-trail") ? trailers : null;
    for (const value of call.metadata.get(name)) to?.add(name, value);
  }
  if (Object.keys(leading.getMap()).length > 0) call.sendMetadata(leading);
  const asked = (name: string) => call.metadata.get(name)[0]?.toString();
  const code = asked("x-fail");
  const failure = code === undefined ? undefined : failureOf(Number(code));
  failure?.metadata?.merge(trailers);
  return { asked, trailers, failure };
}

function failureOf(code: number): grpc.ServerErrorResponse {
  const status = encodeStatus(code, FAILURE_MESSAGE, [...FAILURE_DETAILS]);
  return Object.assign(new Error(FAILURE_MESSAGE), {
    code,
    details: FAILURE_MESSAGE,
    metadata: metadataOf(["grpc-status-details-bin", status]),
  });
}

/** Stops reading requests for as long as `x-wait` asks. */
function waitIfAsked(
  call: Pick<NodeJS.ReadableStream, "pause" | "resume">,
  waitMs: string | undefined,
): void {
  if (waitMs === undefined) return;
  call.pause();
  setTimeout(() => call.resume(), Number(waitMs));
}

/** Notes how a call with `x-hold` ended, unless its status was OK. */
function noteEnd(
  call: Pick<Call, "getDeadline"> & NodeJS.EventEmitter,
  calls: Outcomes,
  id: string | undefined,
): void {
  if (id === undefined) return;
  call.on("cancelled", () => {
    calls.put(id, Date.now() >= Number(call.getDeadline()) ? "deadline" : "canceled");
  });
}
