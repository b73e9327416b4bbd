// Appends to the SQLite log at argv[2] without an end, from SIGUSR2 on: it prints "loaded" before, and "open" after it.
// Records have their number, which continues from the newest that is stored; it prints the numbers that are acknowledged.
// Eight appends wait at a time, each of one to three records of producer "p".
import { once } from "node:events";
import { sqliteLog } from "../../../src/topics/sqlite/sqlite.ts";

const go = once(process, "SIGUSR2");
const awake = setInterval(() => {}, 1_000);
process.stdout.write("loaded\n");
await go;
clearInterval(awake);

const log = await sqliteLog(process.argv[2] ?? "");
process.stdout.write("open\n");

let next = 0n;
for (let after: string | undefined; ; ) {
  const last = (await log.page("t", after)).at(-1);
  if (last === undefined) break;
  after = last.cursor;
  if (last.kind === "record")
    next = BigInt(Buffer.from(last.data).toString().split(" ")[0] ?? "") + 1n;
}

async function write(): Promise<void> {
  for (;;) {
    const records = Array.from({ length: 1 + Number(next % 3n) }, () => {
      const sequence = next++;
      const data = Buffer.from(`${sequence} ${"x".repeat(Number(sequence % 500n))}`);
      return { data, id: { producer: "p", sequence } };
    });
    await log.append("t", records);
    process.stdout.write(`${records.map(({ id }) => id.sequence).join("\n")}\n`);
  }
}
await Promise.all(Array.from({ length: 8 }, write));
