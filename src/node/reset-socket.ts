import type { Socket } from "node:net";

/**
 * Ends a connection at once with RST, as the kernel does for a process that is gone. A Unix socket, one that is still
 * connecting, and one whose FIN waits for data before it (libuv refuses RST there) are closed without it.
 */
export function resetSocket(socket: Socket): void {
  const isConnectedTcp = socket.remoteFamily !== undefined;
  const finWaits = socket.writableEnded && !socket.writableFinished;
  if (isConnectedTcp && !finWaits) socket.resetAndDestroy();
  else socket.destroy();
}
