/** Frames that cost the server something and bring nothing. */
import { type Flood, floods } from "../../../http2/support/floods.ts";
import { attack } from "../attack.ts";

/** A handler that waits for its requests, and sends nothing before they end. */
const PATH = "/example.Greeter/Collect";

/** No connection sends more parts of a flood. */
const MOST_PARTS = 1_000_000;

/** The floods that are tried beside an honest client; `npm run attack -- floods` tries all by themselves. */
const CHOSEN: Readonly<Record<string, string>> = {
  "rapid-reset": "requests that are reset at once",
  "server-reset": "requests with wrong headers, which the server resets",
  pings: "PING",
  settings: "SETTINGS",
  continuations: "empty CONTINUATION",
  "empty-data": "empty DATA",
  "large-headers": "header lists that are too large",
  "expanding-headers": "header blocks that expand from the dynamic table",
};

export const floodAttacks = Object.entries(CHOSEN).map(([name, flood]) =>
  floodAttack(
    name,
    floods.find((one) => one.name === flood),
  ),
);

/** Each worker floods a connection until it is closed, and then the next one. */
function floodAttack(name: string, flood: Flood | undefined) {
  if (flood === undefined) throw new Error(`there is no flood for ${name}`);
  return attack({
    name,
    does: `${flood.name}: 4 connections, each replaced when it is closed`,
    sizes: [
      { workers: 4, partsAtOnce: 100 },
      { workers: 1, partsAtOnce: 1000 },
      { workers: 32, partsAtOnce: 20 },
    ],
    ends: "flood",
    run: (attacker, { workers, partsAtOnce }) =>
      attacker.inParallel(workers, async () => {
        const client = await attacker.connect();
        if (client === undefined) return true;
        client.write(...(flood.before?.(PATH) ?? []));
        const atOnce = flood.isLarge ? Math.ceil(partsAtOnce / 10) : partsAtOnce;
        for (let n = 0; n < MOST_PARTS && !client.isClosed && !attacker.isOver; n += atOnce) {
          const parts: Buffer[] = [];
          for (let m = 0; m < atOnce; m++) parts.push(...flood.part(n + m, PATH));
          client.write(...parts);
          await client.flushed();
          // The server reads meanwhile, and its GOAWAY is read.
          await new Promise((resolve) => setTimeout(resolve));
        }
        if (!client.isClosed) await attacker.leave(client);
        return true;
      }),
  });
}
