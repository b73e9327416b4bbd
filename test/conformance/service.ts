import { setTimeout } from "node:timers/promises";
import {
  create,
  type DescMessage,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { type Any, anyPack } from "@bufbuild/protobuf/wkt";
import {
  type HandlerContext,
  holdHeaders,
  type ServiceImpl,
  sendHeaders,
} from "../../src/server.ts";
import { appendHeaders, toConnectError, toHeaderList } from "./metadata.ts";
import {
  ConformanceService,
  type Payload,
  PayloadSchema,
  RequestInfoSchema,
  type StreamDefinition,
  type UnaryDefinition,
} from "./schema.ts";

const { unary, idempotentUnary, clientStream, serverStream, bidiStream } =
  ConformanceService.method;

/**
 * Does what each request's definition says, and tells what it has received: in the first response, or
 * in the error's details if there is none. Delays ignore the call's signal on purpose: a deadline
 * holds whatever the handler does.
 */
export const service: Partial<ServiceImpl<typeof ConformanceService>> = {
  async unary(request, context) {
    const requests = [echo(unary.input, request)];
    return { payload: await respondOnce(request.responseDefinition, requests, context) };
  },

  async idempotentUnary(request, context) {
    const requests = [echo(idempotentUnary.input, request)];
    return { payload: await respondOnce(request.responseDefinition, requests, context) };
  },

  async clientStream(incoming, context) {
    const requests: Any[] = [];
    let definition: UnaryDefinition | undefined;
    for await (const request of incoming) {
      if (requests.length === 0) definition = request.responseDefinition;
      requests.push(echo(clientStream.input, request));
    }
    return { payload: await respondOnce(definition, requests, context) };
  },

  async *serverStream(request, context) {
    const requests = [echo(serverStream.input, request)];
    setMetadata(request.responseDefinition, context);
    announce(request.responseDefinition, context);
    yield* respondRest(request.responseDefinition, { sent: 0, requests }, context);
  },

  async *bidiStream(incoming, context) {
    let requests: Any[] = [];
    let definition: StreamDefinition | undefined;
    let first = true;
    let fullDuplex = false;
    let sent = 0;
    // The definitions of the responses are in the first request.
    holdHeaders(context);
    for await (const request of incoming) {
      if (first) {
        first = false;
        definition = request.responseDefinition;
        fullDuplex = request.fullDuplex;
        setMetadata(definition, context);
        if (fullDuplex) announce(definition, context);
      }
      requests.push(echo(bidiStream.input, request));
      if (!fullDuplex) continue;
      const data = definition?.responseData[sent];
      if (data === undefined) break;
      await setTimeout(definition?.responseDelayMs);
      yield { payload: payload(data, sent === 0 ? received(requests, context) : { requests }) };
      sent++;
      requests = [];
    }
    if (!fullDuplex) announce(definition, context);
    yield* respondRest(definition, { sent, requests }, context);
  },
};

/** The one response of a unary or client-streaming call, or its error. */
async function respondOnce(
  definition: UnaryDefinition | undefined,
  requests: Any[],
  context: HandlerContext,
): Promise<Payload> {
  setMetadata(definition, context);
  await setTimeout(definition?.responseDelayMs);
  const info = received(requests, context);
  if (definition?.response.case === "error") {
    throw toConnectError(definition.response.value, anyPack(RequestInfoSchema, info));
  }
  return payload(definition?.response.value, info);
}

/** The responses of a stream from number `sent` on, then its error if it has one. */
async function* respondRest(
  definition: StreamDefinition | undefined,
  { sent, requests }: { sent: number; requests: Any[] },
  context: HandlerContext,
) {
  if (definition === undefined) return;
  for (const [index, data] of definition.responseData.entries()) {
    if (index < sent) continue;
    await setTimeout(definition.responseDelayMs);
    yield { payload: payload(data, index === 0 ? received(requests, context) : undefined) };
  }
  if (definition.error === undefined) return;
  if (definition.responseData.length > 0) throw toConnectError(definition.error);
  throw toConnectError(definition.error, anyPack(RequestInfoSchema, received(requests, context)));
}

/** The headers of a stream are sent before the first delay if a response follows. */
function announce(definition: StreamDefinition | undefined, context: HandlerContext): void {
  if (definition !== undefined && definition.responseData.length > 0) sendHeaders(context);
}

function setMetadata(
  definition: UnaryDefinition | StreamDefinition | undefined,
  context: HandlerContext,
): void {
  appendHeaders(context.responseHeader, definition?.responseHeaders);
  appendHeaders(context.responseTrailer, definition?.responseTrailers);
}

function payload(
  data: Uint8Array | undefined,
  requestInfo: MessageInitShape<typeof RequestInfoSchema> | undefined,
): Payload {
  return create(PayloadSchema, { data, requestInfo });
}

function received(requests: Any[], context: HandlerContext) {
  const timeoutMs = context.timeoutMs();
  return create(RequestInfoSchema, {
    requestHeaders: toHeaderList(context.requestHeader),
    timeoutMs: timeoutMs === undefined ? undefined : BigInt(Math.trunc(timeoutMs)),
    requests,
  });
}

function echo<Desc extends DescMessage>(schema: Desc, request: MessageShape<Desc>): Any {
  return anyPack(schema, request);
}
