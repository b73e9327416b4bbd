import type { Socket } from "node:net";

/**
 * Ends a connection now with RST, like the kernel when a process has died. A Unix socket, a socket that is still
 * connecting, and one whose FIN waits for data before it (libuv refuses RST there) are closed without RST.
 */
export function resetSocket(socket: Socket): void {
  const isConnectedTcp = socket.remoteFamily !== undefined;
  const finWaits = socket.writableEnded && !socket.writableFinished;
  if (isConnectedTcp && !finWaits) socket.resetAndDestroy();
  else socket.destroy();
}
