/** The strangers of run.ts. As a program: NAME PORT does as that stranger, until it is killed. */
import { setTimeout as pause } from "node:timers/promises";
import { bomb, cancelInventedSessions, flood, subscribe } from "../support/stranger.ts";

interface Stranger {
  readonly name: string;
  readonly does: string;
  readonly run: (port: number) => Promise<unknown>;
}

export const strangers: readonly Stranger[] = [
  {
    name: "B1",
    does: "1,980 Subscribe calls with sessions and no pause, over two connections",
    run: (port) => subscribe(port, { calls: 1980, connections: 2 }),
  },
  {
    name: "B2",
    does: "105,000 cancels of sessions that never were",
    run: (port) => cancelInventedSessions(port, 105_000),
  },
  {
    name: "B3",
    does: "gzip messages of 914 B that inflate to 0.9 MB, on 40 streams",
    run: (port) => flood(port, bomb(900_000), { bytes: 40e6, connections: 2, streams: 20 }),
  },
  {
    name: "B3-large",
    does: "15 MB of gzip messages of 4 kB that inflate to 4 MiB, on 400 streams",
    run: (port) => flood(port, bomb(4 * 2 ** 20), { bytes: 15e6, connections: 2, streams: 200 }),
  },
];

if (import.meta.main) {
  const [, , name, port] = process.argv;
  const stranger = strangers.find((one) => one.name === name);
  if (stranger === undefined) throw new RangeError(`there is no stranger named ${name}`);
  await stranger.run(Number(port));
  await pause(2 ** 30);
}
