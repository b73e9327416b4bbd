/** Our client against a peer's server. */
import { type Peer, type PeerServer, startServer } from "./programs.ts";
import { check } from "./report.ts";
import { scenarios } from "./scenarios.ts";
import { pings, type ServerFeatures, type Special, specials, WITH_ANY_SERVER } from "./specials.ts";
import { type Capabilities, type World, worldOf } from "./world.ts";

/** Runs the scenarios of every peer that the server is capable of; `isChosen` chooses some of them by name. */
export async function runScenarios(
  what: string,
  world: World,
  capabilities: Capabilities,
  isChosen: (name: string) => boolean = () => true,
): Promise<void> {
  for (const { name, run, needs } of scenarios()) {
    if (needs !== undefined && !capabilities[needs]) continue;
    if (isChosen(name)) await check(`${what}: ${name}`, () => run(world));
  }
}

/** Runs the scenarios that need a transport of their own, and those that also need a server of their own. */
export async function specialsOf(peer: Peer, features: ServerFeatures): Promise<void> {
  {
    await using server = await startServer(peer);
    for (const one of WITH_ANY_SERVER) await special(`${peer.name} server`, server, one);
  }
  for (const one of specials(features)) await withOwnServer(peer, one);
}

/** Runs those that mostly wait, all at the same time. */
export async function pingsOf(peer: Peer, features: ServerFeatures): Promise<void> {
  await Promise.all(pings(features).map((one) => withOwnServer(peer, one)));
}

async function withOwnServer(peer: Peer, one: Special): Promise<void> {
  await using server = await startServer(peer, ...(one.flags ?? []));
  await special(`${peer.name} server`, server, one);
}

async function special(
  what: string,
  server: PeerServer,
  { name, run, options }: Special,
): Promise<void> {
  await check(`${what}: ${name}`, async () => {
    await using world = worldOf({ baseUrl: `http://${server.address}`, ...options });
    await run(world, server);
  });
}
