/** The services of gRPC's interop suite on our server. */
import { randomUUID } from "node:crypto";
import { setTimeout } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { type ConnectRouter, encodeBinaryHeader } from "@connectrpc/connect";
import { ConnectError, type HandlerContext, type ServiceImpl } from "../../src/server.ts";
import {
  type EchoStatus,
  PayloadSchema,
  type StreamingOutputCallRequest,
  type TestOrcaReport,
  TestService,
} from "./gen/grpc/testing/test_pb.js";
import {
  type OrcaLoadReport,
  OrcaLoadReportSchema,
} from "./gen/xds/data/orca/v3/orca_load_report_pb.js";
import { OpenRcaService } from "./gen/xds/service/orca/v3/orca_pb.js";

export const INITIAL = "x-grpc-test-echo-initial";
export const TRAILING = "x-grpc-test-echo-trailing-bin";
/** In the trailers of a call that asked for a report of its load. */
export const LOAD = "endpoint-load-metrics-bin";

/** A payload of zeros, as the suite wants it. */
export function payload(size: number) {
  return create(PayloadSchema, { body: new Uint8Array(size) });
}

/** UnimplementedCall is left out, as is UnimplementedService: the suite calls both. */
export function testServices(router: ConnectRouter): void {
  const serverId = randomUUID();
  /** What the call that reported its load latest said of it; clients ask for it out of band. */
  let load = create(OrcaLoadReportSchema);

  const testService: Omit<ServiceImpl<typeof TestService>, "unimplementedCall"> = {
    emptyCall: () => ({}),

    unaryCall(request, context) {
      echoMetadata(context);
      failIfAsked(request.responseStatus);
      if (request.orcaPerQueryReport !== undefined) {
        const report = encodeBinaryHeader(
          reportOf(request.orcaPerQueryReport),
          OrcaLoadReportSchema,
        );
        context.responseTrailer.set(LOAD, report);
      }
      return {
        payload: payload(request.responseSize),
        serverId: request.fillServerId ? serverId : "",
      };
    },

    streamingOutputCall: (request) => responsesTo(request),

    async streamingInputCall(requests) {
      let aggregatedPayloadSize = 0;
      for await (const { payload } of requests) aggregatedPayloadSize += payload?.body.length ?? 0;
      return { aggregatedPayloadSize };
    },

    async *fullDuplexCall(requests, context) {
      echoMetadata(context);
      for await (const request of requests) {
        failIfAsked(request.responseStatus);
        if (request.orcaOobReport !== undefined) load = reportOf(request.orcaOobReport);
        yield* responsesTo(request);
      }
    },

    async *halfDuplexCall(requests) {
      const all: StreamingOutputCallRequest[] = [];
      for await (const request of requests) all.push(request);
      for (const request of all) yield* responsesTo(request);
    },
  };

  router.service(TestService, testService);
  router.service(OpenRcaService, {
    async *streamCoreMetrics({ reportInterval }, { signal }) {
      const intervalMs = reportInterval === undefined ? 1000 : durationMs(reportInterval);
      for (;;) {
        yield load;
        await setTimeout(intervalMs, undefined, { signal });
      }
    },
  });
}

async function* responsesTo({ responseParameters }: StreamingOutputCallRequest) {
  for (const { size, intervalUs } of responseParameters) {
    if (intervalUs > 0) await setTimeout(intervalUs / 1000);
    yield { payload: payload(size) };
  }
}

function echoMetadata({ requestHeader, responseHeader, responseTrailer }: HandlerContext): void {
  const initial = requestHeader.get(INITIAL);
  if (initial !== null) responseHeader.set(INITIAL, initial);
  const trailing = requestHeader.get(TRAILING);
  if (trailing !== null) responseTrailer.set(TRAILING, trailing);
}

function failIfAsked(status: EchoStatus | undefined): void {
  if (status !== undefined && status.code !== 0)
    throw new ConnectError(status.message, status.code);
}

function reportOf(report: TestOrcaReport): OrcaLoadReport {
  const { cpuUtilization, memoryUtilization, requestCost, utilization } = report;
  return create(OrcaLoadReportSchema, {
    cpuUtilization,
    memUtilization: memoryUtilization,
    requestCost,
    utilization,
  });
}
