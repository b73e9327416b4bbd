import { statSync } from "node:fs";
import { Code, ConnectError } from "hawser";
import { systemCode } from "../terminal/report.ts";
import { shellWord } from "../terminal/shell-word.ts";
import type { LogPlace } from "./open-log.ts";

/** Returns the step that helps if a log cannot be opened, unless the message already names it. */
export function logRemedy(error: unknown, place: LogPlace): string | undefined {
  const { code, rawMessage } = ConnectError.from(error);
  if (/npm install/.test(rawMessage)) {
    return "without it, keep rooms in memory with --log memory";
  }
  if (place.kind === "nats") {
    if (/authorization|authentication/i.test(rawMessage)) {
      return "give a user and password that it knows: nats://USER:PASSWORD@HOST:PORT";
    }
    if (/insufficient (storage|resources)/i.test(rawMessage)) {
      return "let the rooms use less of it with --max-bytes";
    }
    return code === Code.Unavailable
      ? "start it with JetStream (nats-server -js), or keep rooms elsewhere with --log or --data"
      : undefined;
  }
  const cannotOpen = /cannot be opened/.test(rawMessage);
  if (cannotOpen && place.kind === "sqlite" && isDirectory(place.path)) {
    const data = `--data ${shellWord(place.path)}`;
    return `it is a directory: name a file in it, or keep rooms in it with ${data}`;
  }
  return code === Code.Unavailable || cannotOpen
    ? "keep rooms elsewhere with --data or --log, or in memory with --log memory"
    : undefined;
}

function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

/** Returns the step that helps if the server cannot listen, unless the message already names it. */
export function listenRemedy(error: unknown, unix: string | undefined): string | undefined {
  switch (systemCode(error)) {
    case "EACCES":
    case "ENOENT":
    case "EINVAL":
      return unix === undefined
        ? "choose a port above 1023 with --port"
        : "choose another path with --unix";
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return "choose an address of this machine with --host";
    default:
      return undefined;
  }
}
