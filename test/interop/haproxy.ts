/** Our client and our servers with HAProxy between them. */
import { behindHaproxy, idleCuts, killedInTurn } from "./haproxy-faults.ts";
import { startHaproxy } from "./haproxy-process.ts";
import { everyScenario, type StartProxy, sessionsThrough } from "./proxied.ts";
import { check } from "./report.ts";

/** What plain calls cannot have through HAProxy 2.6. */
const NOT_PLAIN = [
  // Where a call is cancelled whose requests have not ended, HAProxy ends them (END_STREAM) before it resets the stream:
  // the handler may finish first.
  "deadline of a chat that waits for a request",
  "deadline of a client stream",
  "cancel a chat",
  "cancel a client stream",
  // It shares its connections to servers, and reads one no further than the stream that its own client does not read.
  "a call that is not read delays no other",
];

/** They measure what our client and a peer can take, and a proxy says nothing new about them. */
const LOADS = /at a time$|^64 MiB|^10,000 messages/;

export async function throughHaproxy(directory: string): Promise<void> {
  const start: StartProxy = (backends) => startHaproxy(directory, backends);
  const without = (title: string) => LOADS.test(title);
  await everyScenario("HAProxy", start, { session: true, without });
  await everyScenario("HAProxy", start, {
    session: false,
    without: (title) => without(title) || NOT_PLAIN.includes(title),
  });
  await sessionsThrough("HAProxy", start);
}

/** For the scenario that starts three servers, beside all else that waits. */
const KILLS_LIMIT_MS = 60_000;

/** What mostly waits. */
export async function haproxyFaults(directory: string): Promise<void> {
  await using killed = await behindHaproxy(directory);
  await using cut = await behindHaproxy(directory, { timeout: "1s" });
  await Promise.all([
    check("HAProxy: servers are killed in turn", () => killedInTurn(killed), KILLS_LIMIT_MS),
    check("HAProxy: what is silent is cut", () => idleCuts(cut)),
  ]);
}
