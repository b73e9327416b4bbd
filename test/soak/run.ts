/**
 * npm run soak                     many calls on one connection that is never lost: calls-run.ts
 * npm run soak -- --seconds 60     chats on connections that are lost all the time: sessions-run.ts
 * npm run soak -- --quick          the same for 20 s
 * npm run soak -- --web            the same over WebSockets: the clients are those of hawser/web, on Node's WebSocket
 *                 --seed N         the same plan of chats and cuts again; what meets what is up to the machine
 * npm run soak -- --crowd          10,000 sessions that are cut at the same time: crowd-run.ts
 */
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    seconds: { type: "string" },
    quick: { type: "boolean" },
    web: { type: "boolean" },
    seed: { type: "string" },
    crowd: { type: "boolean" },
  },
});
if (values.crowd) await import("./crowd-run.ts");
else if (Object.keys(values).length === 0) await import("./calls-run.ts");
else {
  const { soakSessions } = await import("./sessions-run.ts");
  const seconds = natural("seconds", values.seconds ?? (values.quick ? "20" : "60"));
  const seed = natural("seed", values.seed ?? String(Math.floor(Math.random() * 2 ** 32)));
  const ok = await soakSessions({ seconds, seed, isWeb: values.web ?? false });
  // Exits here, because Node never exits by itself if a link reset a socket that Node was ending.
  process.exit(ok ? 0 : 1);
}

function natural(name: string, text: string): number {
  if (/^\d{1,10}$/.test(text)) return Number(text);
  throw new RangeError(`--${name} takes a natural number, not "${text}"`);
}
