/** What the parts of a server get of its options. */
import { hash, randomBytes } from "node:crypto";
import { Keepalive, SERVER_TIMES } from "../connection/keepalive.ts";
import { realClock } from "../flow/clock.ts";
import type { Logger } from "../observe/logger.ts";
import { Admission } from "../server/admission.ts";
import { Authenticator } from "../server/authenticate.ts";
import { Callers, type TrustedProxies } from "../server/callers.ts";
import { outputBuffers } from "./output-buffers.ts";
import type { ServerOptions, withDefaults } from "./server-options.ts";

export function callersOf(
  { authenticate, admit }: ServerOptions,
  proxies: TrustedProxies | undefined,
  logger: Pick<Logger, "error">,
): Callers {
  const authenticator = authenticate && new Authenticator(authenticate, logger);
  const admission = admit && new Admission(admit, logger);
  return new Callers({ authenticator, admission, proxies });
}

/** The options of limits that callers share. A server without sessions has none of theirs. */
export function sharedOptions({ maxOpenCalls, sessions }: ReturnType<typeof withDefaults>) {
  const { maxSessions = 0, maxBytes = 0 } = sessions ?? {};
  return { maxOpenCalls, maxSessions, maxBytes };
}

/** Node's part of the sessions of a server. */
export const cryptography = {
  randomHex: (bytes: number) => randomBytes(bytes).toString("hex"),
  sha256: (text: string) => hash("sha256", text, "base64"),
};

export function connectionOptions(settings: ReturnType<typeof withDefaults>) {
  return {
    clock: realClock,
    buffers: outputBuffers,
    keepalive: new Keepalive(settings.keepalive, SERVER_TIMES),
    maxConcurrentStreams: settings.maxConcurrentStreams,
    peerTimeoutMs: settings.prefaceTimeoutMs,
    abuseBudget: settings.abuseBudget,
    minPingIntervalMs: settings.minPingIntervalMs,
    idleMs: settings.connectionIdleMs,
    ageMs: settings.connectionAgeMs,
    ageGraceMs: settings.connectionAgeGraceMs,
  };
}
