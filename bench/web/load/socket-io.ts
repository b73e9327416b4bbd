import { io, type Socket } from "socket.io-client";
import type { Gauge, Loops } from "./load.ts";

/** The messages that wait for their reply in an echo, as for one message a frame. */
const IN_FLIGHT = 1000;

export function socketIo(url: string): Loops {
  const socket = io(url, { transports: ["websocket"], forceNew: true });
  return {
    echo: (size, gauge) => echo(socket, gauge, { size, inFlight: IN_FLIGHT }),
    async push(size, gauge) {
      socket.emit("push", size);
      await new Promise<void>((resolve) => {
        socket.on("message", ({ content }) => {
          if (content.length === size) gauge.messages++;
          if (!gauge.running) resolve();
        });
      });
    },
    "ping-pong": (size, gauge) => echo(socket, gauge, { size, inFlight: 1 }),
    close: () => socket.close(),
  };
}

/** Keeps messages in flight until the end, and counts the replies. */
function echo(
  socket: Socket,
  gauge: Gauge,
  { size, inFlight }: { size: number; inFlight: number },
): Promise<void> {
  const content = "x".repeat(size);
  let waiting = 0;
  return new Promise((resolve) => {
    const fill = () => {
      for (; gauge.running && waiting < inFlight; waiting++) socket.emit("chat", { content });
    };
    socket.on("reply", ({ reply }) => {
      if (reply.length >= size) gauge.messages++;
      waiting--;
      if (waiting <= inFlight / 2) fill();
      if (waiting === 0) resolve();
    });
    fill();
  });
}
