/**
 * npm run attack              all of it; ~60 minutes
 * npm run attack -- --quick   eight attacks beside an honest client, within 90 s
 * npm run attack -- beside    how a server serves an honest client beside a hostile one. --only joins for some; --size 1, 2 or
 *                             all for other sizes; --column own or shared: the attacker's address
 * npm run attack -- floods    frames that bring nothing: when the connection ends, and the CPU; --only PING for some
 * npm run attack -- holds     clients that make the server wait
 * npm run attack -- unread    clients that send and never read: the memory that they make the server hold
 * npm run attack -- honest    what must not be taken for a flood or a hold; ~2.5 minutes
 */
import { parseArgs } from "node:util";
import { tryBeside } from "./beside/run.ts";
import { tryFloods } from "./floods.ts";
import { tryHolds } from "./holds.ts";
import { tryHonestClients } from "./honest.ts";
import { tryUnread } from "./unread.ts";
import { allIsWell } from "./verdict.ts";

const { values, positionals } = parseArgs({
  options: {
    only: { type: "string" },
    size: { type: "string", default: "0" },
    column: { type: "string" },
    quick: { type: "boolean", default: false },
  },
  allowPositionals: true,
});
const { quick, only, size, column } = values;
const isChosen = (part: string) =>
  positionals.length === 0 ? !quick || part === "beside" : positionals.includes(part);

if (isChosen("beside")) await tryBeside({ quick, only, size, column });
if (isChosen("floods")) await tryFloods(only);
if (isChosen("holds")) await tryHolds();
if (isChosen("unread")) await tryUnread();
if (isChosen("honest")) await tryHonestClients();
// Node does not exit by itself if a connection was reset while it was being ended.
process.exit(allIsWell() ? 0 : 1);
