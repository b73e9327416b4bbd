/** A peer's client against our server. */
import assert from "node:assert/strict";
import { Greeter } from "../../gen/example/greeter_pb.js";
import { createServer, type ServerOptions } from "../../src/server.ts";
import { certFile } from "../support/tls.ts";
import { type Counts, countingRelay } from "./counting-relay.ts";
import { switchedGreeter } from "./greeter.ts";
import { type Peer, runClient } from "./programs.ts";
import { check, fail, pass } from "./report.ts";

export const CA = ["-ca", certFile("ca.pem")];
export const CLIENT_CERT = ["-cert", certFile("client.pem"), "-key", certFile("client.key")];
export const OTHER_CERT = [
  "-cert",
  certFile("other-client.pem"),
  "-key",
  certFile("other-client.key"),
];

export interface Run {
  /** Arguments of the client, and its scenarios; all that need no special server by default. */
  flags?: string[];
  scenarios?: string[];
  /** Throws if what passed between the client and the server, in cleartext over TCP, is not as it should be. */
  passed?: (counts: Counts) => void;
}

/** Starts a server of ours, runs clients of the peer against it one after another, and closes it. */
export async function against(
  [peer, what]: readonly [peer: Peer, what: string],
  options: Partial<ServerOptions> & { path?: string },
  ...runs: Run[]
): Promise<void> {
  const { path, ...serverOptions } = options;
  const server = createServer({
    routes: (router) =>
      router.service(
        Greeter,
        switchedGreeter(() => void server.close()),
      ),
    ...serverOptions,
  });
  const address = await server.listen(path === undefined ? { port: 0 } : { path });
  const target = path === undefined ? `${address.host}:${address.port}` : `unix:${path}`;
  for (const { flags = [], scenarios = [], passed } of runs) {
    let passes = 0;
    let failures = 0;
    await using relay = passed === undefined ? undefined : await countingRelay(target);
    const at = relay === undefined ? target : `127.0.0.1:${relay.port}`;
    const code = await runClient(peer, ["-target", at, ...flags, ...scenarios], (line) => {
      const [, verdict, name, reason] = /^(PASS|FAIL) ([^:]+)(?:: (.*))?$/.exec(line) ?? [];
      if (verdict === "PASS") {
        passes++;
        pass(`${peer.name} client, ${what}: ${name}`);
      } else {
        failures++;
        fail(`${peer.name} client, ${what}: ${name ?? "it says"}`, reason ?? line);
      }
    });
    if (failures === 0 && (code !== 0 || passes === 0)) {
      fail(`${peer.name} client, ${what}`, `it exited with ${code} after ${passes} scenarios`);
    }
    if (relay !== undefined) {
      await check(`${peer.name} client, ${what}: what passed on the wire`, async () =>
        passed?.(relay.counts()),
      );
    }
  }
  await check(`${peer.name} client, ${what}: the server closes, nothing is left open`, async () => {
    assert.equal(server.openCalls, 0);
    const start = performance.now();
    await server.close();
    assert(performance.now() - start < 2000, "it had to wait for the end of a call");
  });
}
