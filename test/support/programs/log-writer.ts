// Appends to the SQLite log at argv[2] without an end, and prints the number of each record when it is acknowledged.
// Numbers go on from argv[3]; eight appends wait at a time, each of one to three records of producer "p".
import { sqliteLog } from "../../../src/topics/sqlite.ts";

const [, , path = "", from = "0"] = process.argv;
const log = await sqliteLog(path);
process.stdout.write("open\n");

let next = BigInt(from);
async function write(): Promise<void> {
  for (;;) {
    const records = Array.from({ length: 1 + Number(next % 3n) }, () => {
      const sequence = next++;
      return {
        data: Buffer.from(`${sequence} ${"x".repeat(Number(sequence % 500n))}`),
        id: { producer: "p", sequence },
      };
    });
    await log.append("t", records);
    process.stdout.write(`${records.map(({ id }) => id.sequence).join("\n")}\n`);
  }
}
await Promise.all(Array.from({ length: 8 }, write));
