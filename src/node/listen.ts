import { once } from "node:events";
import { unlink } from "node:fs/promises";
import * as net from "node:net";
import { Code } from "@connectrpc/connect";
import { failure, systemReason } from "../failure.ts";
import { DEFAULT_PORT, type ListenOptions, type ServerAddress } from "./listen-options.ts";

/** Makes `server` listen; the errors name the address and the remedy. */
export async function listen(server: net.Server, options: ListenOptions): Promise<ServerAddress> {
  if (options.path !== undefined) return await listenOnPath(server, options.path);
  const { host = "127.0.0.1", port = DEFAULT_PORT } = options;
  const shown = host.includes(":") ? `[${host}]` : host;
  await bind(server, { host, port }, `${shown}:${port}`);
  const bound = server.address() as net.AddressInfo;
  const scheme = isTls(server) ? "https" : "http";
  return { url: `${scheme}://${shown}:${bound.port}`, host, port: bound.port };
}

async function listenOnPath(server: net.Server, path: string): Promise<ServerAddress> {
  try {
    await bind(server, { path }, path);
  } catch (error) {
    // A server that has ended leaves its socket file: it is removed. The file of a running server must stay.
    if (!isTaken(error) || (await isServed(path))) throw error;
    await unlink(path);
    await bind(server, { path }, path);
  }
  return { url: `unix:${path}`, path };
}

async function bind(server: net.Server, at: net.ListenOptions, shown: string): Promise<void> {
  const closed = new AbortController();
  const onClose = () => closed.abort();
  server.once("close", onClose);
  try {
    server.listen(at);
    await once(server, "listening", { signal: closed.signal });
  } catch (error) {
    if (closed.signal.aborted) {
      throw failure(Code.FailedPrecondition, "the server was closed while it began to listen");
    }
    const reason = systemReason(error);
    if (reason === "EADDRINUSE") {
      throw failure(
        Code.FailedPrecondition,
        `${shown} is in use (EADDRINUSE): stop what listens there or choose another port`,
        error,
      );
    }
    throw failure(Code.InvalidArgument, `cannot listen on ${shown} (${reason})`, error);
  } finally {
    server.off("close", onClose);
  }
}

function isTaken(error: unknown): boolean {
  return error instanceof Error && systemReason(error.cause) === "EADDRINUSE";
}

async function isServed(path: string): Promise<boolean> {
  const socket = net.connect(path);
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

function isTls(server: net.Server): boolean {
  return "setSecureContext" in server;
}
