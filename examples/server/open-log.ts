import { join } from "node:path";
import type { Logger } from "hawser/server";
import { memoryLog, type TopicLog } from "hawser/topics";

/** Where messages are kept. */
export type LogPlace =
  | { readonly kind: "memory" }
  | { readonly kind: "sqlite"; readonly path: string }
  | { readonly kind: "nats"; readonly servers: string };

/** The file of the rooms in a directory of data. */
export function inDirectory(directory: string): LogPlace {
  return { kind: "sqlite", path: join(directory, "rooms.sqlite") };
}

/** Reads `memory`, `sqlite:PATH` or `nats://HOST:PORT`; `undefined` where it is none of them. */
export function readLogPlace(text: string): LogPlace | undefined {
  if (text === "memory") return { kind: "memory" };
  if (/^sqlite:./.test(text)) return { kind: "sqlite", path: text.slice("sqlite:".length) };
  if (/^nats:\/\/./.test(text) && URL.canParse(text)) return { kind: "nats", servers: text };
  return undefined;
}

/** Opens a log. What only some logs need is loaded for them alone: it may not be installed. */
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

/** How a person is told where messages are. */
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
