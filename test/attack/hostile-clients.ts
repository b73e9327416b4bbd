/** The hostile clients of run.ts. As a program, with the arguments NAME PORT, it is that client until it is killed. */
import { setTimeout as pause } from "node:timers/promises";
import { bomb, cancelInventedSessions, flood, subscribe } from "../support/hostile-client.ts";

interface HostileClient {
  readonly name: string;
  readonly does: string;
  readonly run: (port: number) => Promise<unknown>;
}

export const hostileClients: readonly HostileClient[] = [
  {
    name: "B1",
    does: "1,980 Subscribe calls with sessions and no pause, over two connections",
    run: (port) => subscribe(port, { calls: 1980, connections: 2 }),
  },
  {
    name: "B2",
    does: "105,000 cancels of sessions that never existed",
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
  const hostile = hostileClients.find((one) => one.name === name);
  if (hostile === undefined) throw new RangeError(`there is no hostile client named ${name}`);
  await hostile.run(Number(port));
  await pause(2 ** 30);
}
