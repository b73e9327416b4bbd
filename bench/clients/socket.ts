/**
 * The load on a socket without gRPC (bench/servers/socket.ts): one connection, on which it keeps the messages of a job
 * in flight, or only reads. It counts bytes.
 */
import { once } from "node:events";
import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { Job } from "../commands.ts";
import { bytesOnWire, inFlight } from "../plan.ts";
import { driveLoops, type Gauge, type Target } from "./drive.ts";

driveLoops((job, target, gauge) => {
  const socket = connect(target);
  return { loops: [load(socket, job, gauge)], close: () => socket.destroy() };
});

function connect({ address, ca }: Target): Socket {
  const [host, port] = address.split(":");
  const at = { host, port: Number(port), noDelay: true };
  return ca === undefined ? connectTcp(at) : connectTls({ ...at, ca });
}

async function load(socket: Socket, job: Job, gauge: Gauge): Promise<void> {
  const bytes = bytesOnWire(job);
  const isPush = job.workload === "push";
  const messages = inFlight(job);
  await once(socket, job.ca === undefined ? "connect" : "secureConnect");
  const done = Promise.withResolvers<void>();
  const send = sender(socket, bytes, messages);
  let received = 0;
  let since = performance.now();
  socket.on("data", (chunk: Buffer) => {
    received += chunk.length;
    const count = Math.floor(received / bytes);
    received -= count * bytes;
    if (messages === 1 && !isPush && count === 1) since = gauge.roundTrip(since);
    else gauge.messages += count;
    if (!gauge.running) done.resolve();
    else if (!isPush && count > 0) send(count);
  });
  socket.on("error", done.reject);
  socket.on("close", () => done.reject(new Error("the server closed the connection")));
  socket.write(isPush ? `push ${bytes}\n` : "echo\n");
  if (!isPush) send(messages);
  await done.promise;
}

/** Returns a function that sends some of at most `most` messages. */
function sender(socket: Socket, bytes: number, most: number): (count: number) => void {
  const inChunk = Math.max(1, Math.min(most, Math.floor((64 * 1024) / bytes)));
  const chunk = Buffer.alloc(inChunk * bytes);
  return (count) => {
    for (let left = count; left > 0; left -= inChunk) {
      socket.write(left >= inChunk ? chunk : chunk.subarray(0, left * bytes));
    }
  };
}
