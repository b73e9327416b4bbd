/** The services that a server has beside those of its application, and how their calls differ. */
import type { DescMethod } from "@bufbuild/protobuf";
import { Health } from "../../gen/grpc/health/v1/health_pb.js";
import { ServerReflection } from "../../gen/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as ServerReflectionAlpha } from "../../gen/grpc/reflection/v1alpha/reflection_pb.js";
import { SessionService } from "../../gen/hawser/v1/session_pb.js";
import type { CallLimit } from "../sharing/parties.ts";

const OWN: ReadonlySet<string> = new Set(
  [SessionService, Health, ServerReflection, ServerReflectionAlpha].map(({ typeName }) => typeName),
);

/**
 * Whether calls of a method are the application's. The others have no sessions, are not told to an observer, and do not count
 * as open calls, so that close() does not wait for them.
 */
export function isOfApplication({ parent }: DescMethod): boolean {
  return !OWN.has(parent.typeName);
}

/** Whether a method serves any caller: balancers, and clients of sessions, call it before they have credentials. */
export function servesAll({ parent }: DescMethod): boolean {
  return parent.typeName === SessionService.typeName || parent.typeName === Health.typeName;
}

/** The limit for which the open calls of a method count. */
export function callLimitOf({ parent }: DescMethod): CallLimit {
  return parent.typeName === Health.typeName ? "healthCalls" : "calls";
}
