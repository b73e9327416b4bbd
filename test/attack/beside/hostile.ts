/** An attack as a process: `node hostile.ts NAME SIZE PORT LASTS_MS ADDRESSES`. It ends with its parent. */
import { setPriority } from "node:os";
import { Attacker, type Report } from "./attacker.ts";
import { attacks } from "./attacks.ts";

/** What the process sends its parent: that it begins, and, asked by "report", what it has done. */
export type HostileMessage = "begins" | "done" | Report;

/** The honest client and the server have the processor first: real attackers are on other machines. */
const PRIORITY = 15;

/** No attack lasts longer than this, whatever happens to its parent. */
const MOST_MS = 120_000;

const [, , name, size, port, lastsMs, addresses = ""] = process.argv;
const attack = attacks.find((one) => one.name === name);
const chosen = attack?.sizes[Number(size)];
if (attack === undefined || chosen === undefined) {
  throw new RangeError(`there is no attack ${name} of size ${size}`);
}
setPriority(PRIORITY);
setTimeout(() => process.exit(1), MOST_MS).unref();
process.on("disconnect", () => process.exit(1));

const attacker = new Attacker({
  port: Number(port),
  lastsMs: Number(lastsMs),
  addresses: addresses.split(","),
});
const send = (message: HostileMessage) => process.send?.(message);
process.on("message", () => send(attacker.report()));
send("begins");
await attack.run(attacker, chosen);
send("done");
