import { join } from "node:path";
import type { Logger } from "hawser/server";
import { memoryLog, type Retention, type TopicLog } from "hawser/topics";
import { Unreadable } from "../terminal/parameter.ts";
import { readDuration, readSize } from "../terminal/values.ts";

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

/** What each topic keeps; JetStream cannot limit its bytes. */
export type Kept = Pick<Retention, "ageMs" | "records">;

/** Reads what each room keeps, for --keep: `30d`, `10000`, `30d,10000` or `all`. */
export function readKeep(text: string): Kept {
  if (text === "all") return {};
  const kept: { ageMs?: number; records?: number } = {};
  for (const part of text.split(",")) {
    const name = /^\d+$/.test(part) ? "records" : "ageMs";
    const limit = name === "records" ? Number(part) : readDuration(part);
    if (limit === 0 || kept[name] !== undefined) {
      throw new Unreadable(
        "write an age, a number of messages, both or all: 30d, 10000, 30d,10000",
      );
    }
    kept[name] = limit;
  }
  return kept;
}

/** Reads what all rooms may use, for --max-bytes: a size, or `none`. Returns bytes. */
export function readMaxBytes(text: string): number {
  return text === "none" ? Number.POSITIVE_INFINITY : readSize(text);
}

export interface LogOptions {
  /** Default: everything. */
  readonly retention?: Kept;
  /** What all topics together may use. Default: no limit. */
  readonly maxBytes?: number;
  readonly logger?: Logger;
}

/** Opens a log. Loads the package of that log only: the other packages may not be installed. */
export async function openLog(
  place: LogPlace,
  { retention = {}, maxBytes = Number.POSITIVE_INFINITY, logger = console }: LogOptions = {},
): Promise<TopicLog> {
  switch (place.kind) {
    case "memory":
      return memoryLog({ retention, maxBytes });
    case "sqlite": {
      const { sqliteLog } = await import("hawser/topics/sqlite");
      return await sqliteLog({ path: place.path, retention, maxBytes, logger });
    }
    case "nats": {
      const { jetStreamLog } = await import("hawser/topics/jetstream");
      const { username, password, host } = new URL(place.servers);
      const connection = {
        ...(username !== "" && { user: decodeURIComponent(username) }),
        ...(password !== "" && { pass: decodeURIComponent(password) }),
      };
      return await jetStreamLog({ servers: host, connection, retention, maxBytes, logger });
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
