/**
 * A socket without gRPC: what a server costs that only reads and writes. The first line of a connection says what it
 * does: "echo" sends back what it receives, "push BYTES" sends messages of this many bytes as fast as possible.
 */
import { type AddressInfo, createServer, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { emit, onCommand } from "../commands.ts";
import { ownCertificate } from "../tls.ts";

const CHUNK_BYTES = 64 * 1024;

/** After this number of writes the event loop gets a turn. */
const WRITES_IN_TURN = 64;

function serve(socket: Socket): void {
  socket.on("error", () => {});
  socket.once("data", (chunk) => {
    const end = chunk.indexOf("\n") + 1;
    const [, bytes] = /^push (\d+)\n$/.exec(chunk.toString("latin1", 0, end)) ?? [];
    if (bytes === undefined) echo(socket, chunk.subarray(end));
    else push(socket, Number(bytes));
  });
}

function echo(socket: Socket, first: Buffer): void {
  const answer = (chunk: Buffer) => {
    if (socket.write(chunk)) return;
    socket.pause();
    socket.once("drain", () => socket.resume());
  };
  socket.on("data", answer);
  answer(first);
}

function push(socket: Socket, bytes: number): void {
  const messages = Math.max(1, Math.floor(CHUNK_BYTES / bytes));
  const chunk = Buffer.alloc(messages * bytes);
  const write = () => {
    for (let n = 0; n < WRITES_IN_TURN && !socket.destroyed; n++) {
      if (!socket.write(chunk)) return;
    }
    if (!socket.destroyed) setImmediate(write);
  };
  socket.on("drain", write);
  write();
}

const certificate = ownCertificate();
const server =
  certificate === undefined
    ? createServer({ noDelay: true }, serve)
    : createTlsServer({ ...certificate, noDelay: true }, serve);
server.listen(0, "127.0.0.1", () => {
  onCommand(() => {});
  emit({ event: "ready", address: `127.0.0.1:${(server.address() as AddressInfo).port}` });
});
