import { isIP } from "node:net";
import { Code } from "@connectrpc/connect";
import { failure } from "../failure.ts";

/** Where a transport connects to. */
export interface Target {
  /** What errors call it: "127.0.0.1:50051", "unix:/run/hawser.sock". */
  readonly name: string;
  readonly tls: boolean;
  /** As node:net takes it. */
  readonly connect: { host: string; port: number } | { path: string };
  /** The :authority of requests, and the name a certificate must have. */
  readonly authority: string;
  readonly hostname: string;
  /** What stands before /package.Service/Method; mostly nothing. */
  readonly pathPrefix: string;
}

/** Reads a baseUrl; throws INVALID_ARGUMENT, with an example, where it is none. */
export function parseTarget(baseUrl: string): Target {
  if (baseUrl.startsWith("unix:")) {
    const path = baseUrl.slice("unix:".length).replace(/^\/\/(?=\/)/, "");
    if (path === "") throw invalid(baseUrl);
    const name = `unix:${path}`;
    return {
      name,
      tls: false,
      connect: { path },
      authority: "localhost",
      hostname: "localhost",
      pathPrefix: "",
    };
  }
  let url: URL;
  try {
    url = new URL(baseUrl);
  } catch {
    throw invalid(baseUrl);
  }
  const tls = url.protocol === "https:";
  if ((!tls && url.protocol !== "http:") || url.hostname === "") throw invalid(baseUrl);
  const hostname = url.hostname.replace(/^\[(.*)\]$/, "$1");
  const port = url.port === "" ? (tls ? 443 : 80) : Number(url.port);
  return {
    name: `${url.hostname}:${port}`,
    tls,
    connect: { host: hostname, port },
    authority: url.host,
    hostname,
    pathPrefix: url.pathname.replace(/\/+$/, ""),
  };
}

/** The name for SNI: an IP address has none (RFC 6066). */
export function serverNameOf(target: Target): string {
  return isIP(target.hostname) === 0 ? target.hostname : "";
}

function invalid(baseUrl: string) {
  return failure(
    Code.InvalidArgument,
    `baseUrl "${baseUrl}" is none: use http://host:port, https://host:port or unix:/path`,
  );
}
