import { Console } from "node:console";
import { createServer } from "../../src/server.ts";
import {
  ConformanceService,
  requestTypes,
  ServerAnswerSchema,
  ServerRequestSchema,
} from "./schema.ts";
import { service } from "./service.ts";
import { readMessages, writeMessage } from "./stdio.ts";

// The server under test: starts as the one message on stdin says, answers with its address, and serves
// until SIGTERM.

for await (const request of readMessages(ServerRequestSchema)) {
  const { clientTlsCert, messageReceiveLimit } = request;
  const creds = request.useTls ? request.serverCreds : undefined;
  const server = createServer({
    routes: (router) =>
      router.service(ConformanceService, service, { jsonOptions: { registry: requestTypes } }),
    logger: new Console(process.stderr),
    readMaxBytes: messageReceiveLimit > 0 ? messageReceiveLimit : undefined,
    sendCompression: "gzip",
    compressMinBytes: 0,
    tls: creds && {
      cert: pem(creds.cert),
      key: pem(creds.key),
      ca: clientTlsCert.length > 0 ? pem(clientTlsCert) : undefined,
      requestClientCertificate: clientTlsCert.length > 0,
    },
  });
  process.once("SIGTERM", () => server.close({ graceMs: 0 }));
  const { host, port } = await server.listen({ port: 0 });
  writeMessage(ServerAnswerSchema, { host, port, pemCert: creds?.cert });
}

function pem(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString();
}
