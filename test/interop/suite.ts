/** The cases of gRPC's interop suite with our client; doc/interop-test-descriptions.md in grpc/grpc describes them. */
import assert from "node:assert/strict";
import { create } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { decodeBinaryHeader, encodeBinaryHeader } from "@connectrpc/connect";
import {
  type Client,
  Code,
  createClient,
  createTransport,
  type TransportOptions,
} from "../../src/index.ts";
import {
  type StreamingOutputCallResponse,
  TestService,
  UnimplementedService,
} from "./gen/grpc/testing/test_pb.js";
import { OrcaLoadReportSchema } from "./gen/xds/data/orca/v3/orca_load_report_pb.js";
import { OpenRcaService } from "./gen/xds/service/orca/v3/orca_pb.js";
import { INITIAL, LOAD, payload, TRAILING } from "./test-service.ts";
import { rejects } from "./world.ts";

/** Sizes of payloads that the suite names. */
const REQUEST_SIZES = [27_182, 8, 1_828, 45_904];
const RESPONSE_SIZES = [31_415, 9, 2_653, 58_979];
const LARGE_REQUEST = 271_828;
const LARGE_RESPONSE = 314_159;

type TestClient = Client<typeof TestService>;

async function emptyUnary(test: TestClient): Promise<void> {
  const { $typeName, $unknown } = await test.emptyCall({});
  assert.equal($typeName, "grpc.testing.Empty");
  assert.equal($unknown, undefined);
}

async function largeUnary(test: TestClient): Promise<void> {
  const response = await test.unaryCall({
    payload: payload(LARGE_REQUEST),
    responseSize: LARGE_RESPONSE,
  });
  assert.deepEqual(response.payload, payload(LARGE_RESPONSE));
}

async function clientStreaming(test: TestClient): Promise<void> {
  await using sink = test.streamingInputCall();
  for (const size of REQUEST_SIZES) await sink.send({ payload: payload(size) });
  const { aggregatedPayloadSize } = await sink.finish();
  assert.equal(aggregatedPayloadSize, 74_922);
}

/** The sizes of the payloads; each must be of zeros. */
async function sizesOf(responses: AsyncIterable<StreamingOutputCallResponse>): Promise<number[]> {
  const sizes: number[] = [];
  for await (const response of responses) {
    const size = response.payload?.body.length ?? -1;
    assert.deepEqual(response.payload, payload(size));
    sizes.push(size);
  }
  return sizes;
}

async function serverStreaming(test: TestClient): Promise<void> {
  const responseParameters = RESPONSE_SIZES.map((size) => ({ size }));
  assert.deepEqual(await sizesOf(test.streamingOutputCall({ responseParameters })), RESPONSE_SIZES);
}

async function pingPong(test: TestClient): Promise<void> {
  await using call = test.fullDuplexCall();
  const responses = call[Symbol.asyncIterator]();
  for (const [i, size] of REQUEST_SIZES.entries()) {
    const wanted = RESPONSE_SIZES[i] as number;
    await call.send({ payload: payload(size), responseParameters: [{ size: wanted }] });
    assert.deepEqual((await responses.next()).value?.payload, payload(wanted));
  }
  call.closeSend();
  assert.equal((await responses.next()).done, true);
}

/** Not a case of every suite: all requests, then all responses. */
async function halfDuplex(test: TestClient): Promise<void> {
  await using call = test.halfDuplexCall();
  for (const size of RESPONSE_SIZES) await call.send({ responseParameters: [{ size }] });
  call.closeSend();
  assert.deepEqual(await sizesOf(call), RESPONSE_SIZES);
}

async function emptyStream(test: TestClient): Promise<void> {
  await using call = test.fullDuplexCall();
  call.closeSend();
  assert.deepEqual(await sizesOf(call), []);
}

async function timeoutOnSleepingServer(test: TestClient): Promise<void> {
  const call = test.fullDuplexCall({ timeoutMs: 1 });
  // The deadline may pass first.
  call.send({ payload: payload(27_182) }).catch(() => {});
  await rejects(sizesOf(call), Code.DeadlineExceeded);
}

async function cancelAfterBegin(test: TestClient): Promise<void> {
  const sink = test.streamingInputCall({ headers: { key1: "value1", key2: "value2" } });
  sink.cancel();
  await rejects(sink.finish(), Code.Canceled);
}

async function cancelAfterFirstResponse(test: TestClient): Promise<void> {
  const call = test.fullDuplexCall();
  const responses = call[Symbol.asyncIterator]();
  await call.send({ payload: payload(27_182), responseParameters: [{ size: 31_415 }] });
  assert.deepEqual((await responses.next()).value?.payload, payload(31_415));
  call.cancel();
  await rejects(responses.next(), Code.Canceled);
}

async function statusCodeAndMessage(test: TestClient): Promise<void> {
  const responseStatus = { code: Code.Unknown, message: "test status message" };
  const unary = await rejects(test.unaryCall({ responseStatus }), Code.Unknown);
  assert.equal(unary.rawMessage, responseStatus.message);
  await using call = test.fullDuplexCall();
  await call.send({ responseStatus });
  call.closeSend();
  const streamed = await rejects(sizesOf(call), Code.Unknown);
  assert.equal(streamed.rawMessage, responseStatus.message);
}

async function specialStatusMessage(test: TestClient): Promise<void> {
  const message = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n";
  const responseStatus = { code: Code.Unknown, message };
  const error = await rejects(test.unaryCall({ responseStatus }), Code.Unknown);
  assert.equal(error.rawMessage, message);
}

async function customMetadata(test: TestClient): Promise<void> {
  const trailing = Uint8Array.of(0xab, 0xab, 0xab);
  const headers = {
    [INITIAL]: "test_initial_metadata_value",
    [TRAILING]: encodeBinaryHeader(trailing),
  };
  const check = (leading: Headers | undefined, trailers: Headers | undefined) => {
    assert.equal(leading?.get(INITIAL), "test_initial_metadata_value");
    assert.deepEqual(decodeBinaryHeader(String(trailers?.get(TRAILING))), trailing);
  };
  let leading: Headers | undefined;
  let trailers: Headers | undefined;
  await test.unaryCall(
    { payload: payload(1), responseSize: 1 },
    {
      headers,
      onHeader: (given) => {
        leading = given;
      },
      onTrailer: (given) => {
        trailers = given;
      },
    },
  );
  check(leading, trailers);
  await using call = test.fullDuplexCall({ headers });
  await call.send({ payload: payload(1), responseParameters: [{ size: 1 }] });
  call.closeSend();
  assert.deepEqual(await sizesOf(call), [1]);
  check(await call.headers, await call.trailers);
}

/** Large unary calls, four at a time, on one connection or each on its own. */
async function soak(clients: () => Promise<{ test: TestClient } & AsyncDisposable>): Promise<void> {
  const caller = async () => {
    for (let i = 0; i < 10; i++) {
      await using one = await clients();
      await largeUnary(one.test);
    }
  };
  await Promise.all([caller(), caller(), caller(), caller()]);
}

const LOAD_OF_CALL = {
  cpuUtilization: 0.821,
  memoryUtilization: 0.5847,
  requestCost: { cost: 3456.32 },
  utilization: { util: 0.30499 },
};

async function orcaPerRpc(test: TestClient): Promise<void> {
  let trailers = new Headers();
  const onTrailer = (given: Headers) => {
    trailers = given;
  };
  await test.unaryCall({ orcaPerQueryReport: LOAD_OF_CALL }, { onTrailer });
  const report = decodeBinaryHeader(String(trailers.get(LOAD)), OrcaLoadReportSchema);
  const { memoryUtilization, ...same } = LOAD_OF_CALL;
  assert.deepEqual(
    report,
    create(OrcaLoadReportSchema, { ...same, memUtilization: memoryUtilization }),
  );
}

async function orcaOutOfBand(test: TestClient, load: Client<typeof OpenRcaService>): Promise<void> {
  await using call = test.fullDuplexCall();
  const responses = call[Symbol.asyncIterator]();
  const reportInterval = create(DurationSchema, { nanos: 100_000_000 });
  for (const cpuUtilization of [0.821, 0.29309]) {
    await call.send({ orcaOobReport: { cpuUtilization }, responseParameters: [{ size: 1 }] });
    await responses.next();
    for await (const report of load.streamCoreMetrics({ reportInterval })) {
      if (report.cpuUtilization === cpuUtilization) break;
    }
  }
}

/** The cases that do not need a server of their own, by the suite's names. */
export function cases(options: TransportOptions): Record<string, () => Promise<void>> {
  const transport = createTransport(options);
  const test = createClient(TestService, transport);
  const shared = { test, async [Symbol.asyncDispose]() {} };
  const unimplemented = createClient(UnimplementedService, transport);
  return {
    empty_unary: () => emptyUnary(test),
    large_unary: () => largeUnary(test),
    client_streaming: () => clientStreaming(test),
    server_streaming: () => serverStreaming(test),
    ping_pong: () => pingPong(test),
    empty_stream: () => emptyStream(test),
    "half-duplex calls": () => halfDuplex(test),
    timeout_on_sleeping_server: () => timeoutOnSleepingServer(test),
    cancel_after_begin: () => cancelAfterBegin(test),
    cancel_after_first_response: () => cancelAfterFirstResponse(test),
    status_code_and_message: () => statusCodeAndMessage(test),
    special_status_message: () => specialStatusMessage(test),
    custom_metadata: () => customMetadata(test),
    unimplemented_method: async () => {
      await rejects(test.unimplementedCall({}), Code.Unimplemented);
    },
    unimplemented_service: async () => {
      await rejects(unimplemented.unimplementedCall({}), Code.Unimplemented);
    },
    orca_per_rpc: () => orcaPerRpc(test),
    orca_oob: () => orcaOutOfBand(test, createClient(OpenRcaService, transport)),
    rpc_soak: () => soak(async () => shared),
    channel_soak: () =>
      soak(async () => {
        const own = createTransport(options);
        return {
          test: createClient(TestService, own),
          [Symbol.asyncDispose]: () => own.close(),
        };
      }),
    "the transport closes": () => transport.close(),
  };
}
