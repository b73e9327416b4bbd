import { fileURLToPath } from "node:url";
import {
  type GrpcObject,
  loadPackageDefinition,
  type ServiceClientConstructor,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

/**
 * The Greeter service for grpc-js. Loads the .proto with proto-loader, as the documentation of grpc-js does. This is also
 * the fastest way: proto-loader generates an encoder and a decoder for each message.
 */
export const Greeter = (
  loadPackageDefinition(
    loadSync("example/greeter.proto", {
      includeDirs: [fileURLToPath(new URL("../proto", import.meta.url))],
    }),
  ).example as GrpcObject
).Greeter as ServiceClientConstructor;

export interface MessageRequest {
  content: string;
}

export interface MessageResponse {
  reply: string;
}

export interface Notification {
  content: string;
}
