/** What a report says of the run itself: the machine, the versions of the peers. */
import { readFileSync } from "node:fs";
import { arch, availableParallelism, cpus, platform } from "node:os";
import type { Peer } from "./plan.ts";

const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8");

export function today(): string {
  return new Date().toISOString().slice(0, 10);
}

export function machine(): string {
  const cpu = cpus()[0]?.model ?? "unknown";
  return `${availableParallelism()} cores (${cpu}), ${platform()} ${arch()}, Node ${process.versions.node}`;
}

/** Returns the name of a peer with its version. */
export function withVersion(peer: Peer): string {
  switch (peer) {
    case "hawser":
      return `hawser ${packageVersion("../package.json")}`;
    case "connect-node":
      return `connect-node ${packageVersion("../node_modules/@connectrpc/connect-node/package.json")}`;
    case "grpc-js":
      return `@grpc/grpc-js ${packageVersion("../node_modules/@grpc/grpc-js/package.json")}`;
    case "grpc-go":
      return `grpc-go ${/google\.golang\.org\/grpc v(\S+)/.exec(read("./go/go.mod"))?.[1]}`;
    case "tonic":
      return `tonic ${/name = "tonic"\nversion = "(.+)"/.exec(read("./rust/Cargo.lock"))?.[1]}`;
    default:
      return peer;
  }
}

/** @param path of a package.json, from this folder */
export function packageVersion(path: string): string {
  return JSON.parse(read(path)).version;
}
