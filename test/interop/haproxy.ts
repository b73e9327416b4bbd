/** Our client and our servers with HAProxy between them. */
import { behindHaproxy, idleCuts, killedInTurn } from "./haproxy-faults.ts";
import { startHaproxy } from "./haproxy-process.ts";
import { everyScenario, type StartProxy, sessionsThrough } from "./proxied.ts";
import { check } from "./report.ts";
import type { Capabilities } from "./world.ts";

/** What plain calls cannot do through HAProxy 2.6. */
const PLAIN_LACKS: Partial<Capabilities> = {
  // If a call is cancelled whose requests have not ended, HAProxy ends them (END_STREAM) before it resets the stream:
  // the handler may finish first.
  earlyCancels: false,
  // Calls share its connections to servers, and it reads such a connection only as far as the slowest of them is read.
  independentCalls: false,
};

/** They put a load on our client and the server; a proxy between them shows nothing new. */
const LOADS = /at a time$|^64 MiB|^10,000 messages/;

export async function throughHaproxy(directory: string): Promise<void> {
  const start: StartProxy = (backends) => startHaproxy(directory, backends);
  const isChosen = (name: string) => !LOADS.test(name);
  await everyScenario("HAProxy", start, { session: true, isChosen });
  await everyScenario("HAProxy", start, { session: false, lacks: PLAIN_LACKS, isChosen });
  await sessionsThrough("HAProxy", start);
}

/** For the scenario that starts three servers, beside all else that waits. */
const KILLS_LIMIT_MS = 60_000;

/** What mostly waits. */
export async function haproxyFaults(directory: string): Promise<void> {
  const kills = async () => {
    await using world = await behindHaproxy(directory);
    await check("HAProxy: servers are killed in turn", () => killedInTurn(world), KILLS_LIMIT_MS);
  };
  const cuts = async () => {
    await using world = await behindHaproxy(directory, { timeout: "1s" });
    await check("HAProxy: what is silent is cut", () => idleCuts(world));
  };
  await Promise.all([kills(), cuts()]);
}
