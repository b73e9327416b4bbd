import { setTimeout } from "node:timers/promises";
import { create, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { type Any, anyUnpack } from "@bufbuild/protobuf/wkt";
import { type Client, ConnectError, type Duplex } from "../../src/index.ts";
import { appendHeaders, toHeaderList, toRpcError } from "./metadata.ts";
import {
  type CallResult,
  CallResultSchema,
  type ClientRequest,
  ConformanceService,
  type Payload,
  PayloadSchema,
  StreamType,
} from "./schema.ts";

type Conformance = Client<typeof ConformanceService>;

/** The call that the runner asks for, and its results so far. */
type Task = { client: Conformance; request: ClientRequest; result: CallResult };

/** The part that the streaming kinds share. */
type Stream = Pick<Duplex<never, never>, "cancel" | "headers" | "trailers">;
type Response = { payload?: Payload };

/**
 * Makes the call that the runner describes and tells how it went; that the call fails is a result too.
 * After it cancels itself, or after a send that fails, it continues as if nothing had happened: the next
 * read shows what our client makes of it.
 */
export async function makeCall(client: Conformance, request: ClientRequest): Promise<CallResult> {
  const result = create(CallResultSchema);
  try {
    await (methods[request.method ?? ""] ?? refuse)({ client, request, result });
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
    result.error = toRpcError(error);
    const metadata = toHeaderList(error.metadata);
    if (result.responseHeaders.length === 0) result.responseHeaders = metadata;
    if (result.responseTrailers.length === 0) result.responseTrailers = metadata;
  }
  return result;
}

const { method } = ConformanceService;

const methods: Record<string, (task: Task) => Promise<void>> = {
  async Unary(task) {
    const message = onlyMessage(task, method.unary.input);
    record(task, await task.client.unary(message, unaryOptions(task)));
  },

  async IdempotentUnary(task) {
    const message = onlyMessage(task, method.idempotentUnary.input);
    record(task, await task.client.idempotentUnary(message, unaryOptions(task)));
  },

  async Unimplemented(task) {
    const message = onlyMessage(task, method.unimplemented.input);
    await task.client.unimplemented(message, unaryOptions(task));
    record(task, {});
  },

  async ServerStream(task) {
    const message = onlyMessage(task, method.serverStream.input);
    await using stream = task.client.serverStream(message, callOptions(task));
    await cancelAfterCloseSend(task, stream);
    try {
      for await (const response of stream) {
        record(task, response);
        cancelAfterResponses(task, stream);
      }
    } finally {
      await recordMetadata(task, stream);
    }
  },

  async ClientStream(task) {
    await using sink = task.client.clientStream(callOptions(task));
    for await (const message of outgoing(task, method.clientStream.input)) {
      if (!(await isSent(task, sink.send(message)))) break;
    }
    cancelBeforeCloseSend(task, sink);
    const response = sink.finish();
    await Promise.allSettled([response, cancelAfterCloseSend(task, sink)]);
    await recordMetadata(task, sink);
    record(task, await response);
  },

  async BidiStream(task) {
    await using duplex = task.client.bidiStream(callOptions(task));
    const fullDuplex = task.request.streamType === StreamType.fullDuplex;
    const responses = duplex[Symbol.asyncIterator]();
    const receive = async () => {
      const { done, value } = await responses.next();
      if (done) return false;
      record(task, value);
      cancelAfterResponses(task, duplex);
      return true;
    };
    try {
      for await (const message of outgoing(task, method.bidiStream.input)) {
        if (!(await isSent(task, duplex.send(message)))) break;
        if (fullDuplex && !(await receive())) break;
      }
      cancelBeforeCloseSend(task, duplex);
      duplex.closeSend();
      await cancelAfterCloseSend(task, duplex);
      while (await receive());
    } finally {
      await recordMetadata(task, duplex);
    }
  },
};

async function refuse({ request }: Task): Promise<void> {
  throw new Error(`no method ${request.method} of service ${request.service}`);
}

// Requests

function callOptions({ request: { requestHeaders, timeoutMs } }: Task) {
  return { headers: appendHeaders(new Headers(), requestHeaders), timeoutMs };
}

/** A unary call sends its request and closes immediately: it is cancelled after the delay that the runner asks for. */
function unaryOptions(task: Task) {
  const controller = new AbortController();
  cancelAfterCloseSend(task, { cancel: () => controller.abort() });
  return {
    ...callOptions(task),
    signal: controller.signal,
    onHeader(headers: Headers) {
      task.result.responseHeaders = toHeaderList(headers);
    },
    onTrailer(trailers: Headers) {
      task.result.responseTrailers = toHeaderList(trailers);
    },
  };
}

function onlyMessage<Desc extends DescMessage>({ request }: Task, schema: Desc) {
  const [any] = request.requestMessages;
  if (any === undefined || request.requestMessages.length > 1) {
    throw new Error(`one request message wanted, ${request.requestMessages.length} given`);
  }
  return unpack(any, schema);
}

/** The messages to send, each after the delay that the runner asks for. */
async function* outgoing<Desc extends DescMessage>({ request, result }: Task, schema: Desc) {
  result.numUnsentRequests = request.requestMessages.length;
  for (const any of request.requestMessages) {
    await setTimeout(request.requestDelayMs);
    yield unpack(any, schema);
  }
}

/** Whether the send succeeded. The reason of a failure appears at the next read. */
async function isSent({ result }: Task, sending: Promise<void>): Promise<boolean> {
  try {
    await sending;
    result.numUnsentRequests--;
    return true;
  } catch (error) {
    if (error instanceof ConnectError) return false;
    throw error;
  }
}

function unpack<Desc extends DescMessage>(any: Any, schema: Desc): MessageShape<Desc> {
  const message = anyUnpack(any, schema);
  if (message === undefined) throw new Error(`${any.typeUrl} given, ${schema.typeName} wanted`);
  return message;
}

// Responses

function record({ result }: Task, { payload }: Response): void {
  result.payloads.push(payload ?? create(PayloadSchema));
}

/** Records the metadata of a call that has ended. If its headers or trailers reject, they are left out. */
async function recordMetadata({ result }: Task, stream: Stream): Promise<void> {
  const [header, trailer] = await Promise.allSettled([stream.headers, stream.trailers]);
  if (header.status === "fulfilled") result.responseHeaders = toHeaderList(header.value);
  if (trailer.status === "fulfilled") result.responseTrailers = toHeaderList(trailer.value);
}

// Cancellation

function cancellation({ request }: Task) {
  const timing = request.cancel?.cancelTiming;
  return {
    beforeCloseSend: timing?.case === "beforeCloseSend",
    afterCloseSendMs: timing?.case === "afterCloseSendMs" ? timing.value : undefined,
    afterNumResponses: timing?.case === "afterNumResponses" ? timing.value : undefined,
  };
}

function cancelBeforeCloseSend(task: Task, stream: Stream): void {
  if (cancellation(task).beforeCloseSend) stream.cancel();
}

async function cancelAfterCloseSend(task: Task, stream: Pick<Stream, "cancel">): Promise<void> {
  const { afterCloseSendMs } = cancellation(task);
  if (afterCloseSendMs === undefined) return;
  await setTimeout(afterCloseSendMs);
  stream.cancel();
}

function cancelAfterResponses(task: Task, stream: Stream): void {
  if (cancellation(task).afterNumResponses === task.result.payloads.length) stream.cancel();
}
