/** Compressed messages that inflate to much more. */
import { bomb } from "../../../support/hostile-client.ts";
import { request } from "../../../support/request.ts";
import { sendEndlessly } from "../../endless.ts";
import { attack } from "../attack.ts";

const GZIP = { "grpc-encoding": "gzip" };

export const bombAttack = attack({
  name: "bombs",
  does: "calls of Collect that send messages of 914 B which inflate to 0.9 MB, on 40 streams of 2 connections",
  sizes: [
    { connections: 2, streams: 20, inflatedBytes: 900_000 },
    { connections: 2, streams: 200, inflatedBytes: 4 * 2 ** 20 },
    // Just small enough to be inflated on the event loop.
    { connections: 8, streams: 100, inflatedBytes: 16_000 },
  ],
  async run(attacker, { connections, streams, inflatedBytes }) {
    const content = bomb(inflatedBytes);
    for (const client of await attacker.connectAll(connections)) {
      const open = (stream: number) => request(stream, "Collect", GZIP);
      sendEndlessly(client, { streams, content, open });
    }
    await attacker.untilOver();
  },
});
