import { createClient, createTransport } from "../../src/index.ts";
import { makeCall } from "./call.ts";
import {
  ClientAnswerSchema,
  type ClientRequest,
  ClientRequestSchema,
  Compression,
  ConformanceService,
} from "./schema.ts";
import { readMessages, writeMessage } from "./stdio.ts";

// The client under test: makes the calls that the runner asks for on stdin, each over a connection of
// its own, and answers on stdout.

/** Most cases wait for a delay or a deadline: this many overlap. */
const CALLS_AT_ONCE = 8;

const requests = readMessages(ClientRequestSchema);
await Promise.all(Array.from({ length: CALLS_AT_ONCE }, work));

async function work(): Promise<void> {
  for await (const request of requests) {
    const { testName } = request;
    try {
      const value = await call(request);
      writeMessage(ClientAnswerSchema, { testName, result: { case: "response", value } });
    } catch (error) {
      const value = { message: String(error) };
      writeMessage(ClientAnswerSchema, { testName, result: { case: "error", value } });
    }
  }
}

async function call(request: ClientRequest) {
  const { host, port, serverTlsCert, clientTlsCreds: creds, messageReceiveLimit } = request;
  const secure = serverTlsCert.length > 0;
  await using transport = createTransport({
    baseUrl: `${secure ? "https" : "http"}://${host}:${port}`,
    readMaxBytes: messageReceiveLimit > 0 ? messageReceiveLimit : undefined,
    sendCompression: request.compression === Compression.gzip ? "gzip" : "identity",
    compressMinBytes: 0,
    tls: secure
      ? {
          ca: pem(serverTlsCert),
          cert: creds && pem(creds.cert),
          key: creds && pem(creds.key),
        }
      : undefined,
  });
  return await makeCall(createClient(ConformanceService, transport), request);
}

function pem(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString();
}
