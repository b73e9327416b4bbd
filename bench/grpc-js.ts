import { fileURLToPath } from "node:url";
import {
  type GrpcObject,
  loadPackageDefinition,
  type ServiceClientConstructor,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

/**
 * Greeter as grpc-js has it. Its documentation loads the .proto with proto-loader, and that
 * is the fast way too: proto-loader generates an encoder and a decoder per message.
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
