import { join } from "node:path";
import type { Logger } from "hawser/server";
import { memoryLog, type TopicLog } from "hawser/topics";
import { Unreadable } from "../terminal/parameter.ts";

/** A place for messages. */
export type LogPlace =
  | { readonly kind: "memory" }
  | { readonly kind: "sqlite"; readonly path: string }
  | { readonly kind: "nats"; readonly servers: string };

/** Returns the file of the rooms in a directory of data. */
export function inDirectory(directory: string): LogPlace {
  return { kind: "sqlite", path: join(directory, "rooms.sqlite") };
}

/** Reads the path of a directory, for --data. */
export function readDirectory(text: string): string {
  if (text !== "") return text;
  throw new Unreadable("write the path of a directory, such as ./data");
}

/** Reads the place of a log, for --log. */
export function readLog(text: string): LogPlace {
  const place = readLogPlace(text);
  if (place !== undefined && (place.kind !== "nats" || isAddress(place.servers))) return place;
  throw new Unreadable(
    text.startsWith("nats:")
      ? "write nats://HOST:PORT, or nats://USER:PASSWORD@HOST:PORT with % as %25, @ as %40 and / as %2F"
      : "write memory, sqlite:PATH or nats://HOST:PORT, such as sqlite:rooms.sqlite",
  );
}

/** Whether a URL has only a server and perhaps a user: the NATS client would ignore a path. */
function isAddress(url: string): boolean {
  const { username, password, pathname, search, hash } = new URL(url);
  try {
    decodeURIComponent(username);
    decodeURIComponent(password);
  } catch {
    return false;
  }
  return /^\/?$/.test(pathname) && search === "" && hash === "";
}

/** Reads `memory`, `sqlite:PATH` or `nats://HOST:PORT`; `undefined` for any other text. */
export function readLogPlace(text: string): LogPlace | undefined {
  if (text === "memory") return { kind: "memory" };
  if (/^sqlite:./.test(text)) return { kind: "sqlite", path: text.slice("sqlite:".length) };
  if (/^nats:\/\/./.test(text) && URL.canParse(text)) return { kind: "nats", servers: text };
  return undefined;
}

/** Opens a log. Loads the package of that log only: the other packages may not be installed. */
export async function openLog(place: LogPlace, logger: Logger = console): Promise<TopicLog> {
  switch (place.kind) {
    case "memory":
      return memoryLog();
    case "sqlite": {
      const { sqliteLog } = await import("hawser/topics/sqlite");
      return await sqliteLog({ path: place.path, logger });
    }
    case "nats": {
      const { jetStreamLog } = await import("hawser/topics/jetstream");
      const { username, password, host } = new URL(place.servers);
      const connection = {
        ...(username !== "" && { user: decodeURIComponent(username) }),
        ...(password !== "" && { pass: decodeURIComponent(password) }),
      };
      return await jetStreamLog({ servers: host, connection, logger });
    }
  }
}

/** Returns the place of the messages in words, for the user. */
export function describePlace(place: LogPlace): string {
  switch (place.kind) {
    case "memory":
      return "rooms are kept in memory, and gone with this process";
    case "sqlite":
      return `rooms are kept in ${place.path}`;
    case "nats":
      return `rooms are kept in NATS at ${new URL(place.servers).host}`;
  }
}
