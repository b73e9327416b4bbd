/**
 * The client of `npm run runtimes`: runs all scenarios against the server whose addresses are its argument. It prints
 * JSON lines, and reads a line for each request. It ends by itself after the end of its standard input, unless Hawser keeps
 * something open.
 */
import { createInterface } from "node:readline";
import { type ClientInput, FAILED, type Request } from "./messages.ts";
import type { Peer, Scenario } from "./scenario.ts";
import { scenarios } from "./scenarios.ts";

const LIMIT_MS = 20_000;

const input = JSON.parse(process.argv[2] ?? "{}") as ClientInput;
const answers: ((answer: string) => void)[] = [];
let isDone = false;

createInterface({ input: process.stdin })
  .on("line", (line) => answers.shift()?.(line))
  .on("close", () => {
    // The run has ended: nothing may outlive it.
    if (!isDone) process.exit(1);
  });

function print(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

const peer: Peer = {
  ...input,
  ask(request: Request) {
    print({ ask: request });
    return new Promise((resolve, reject) => {
      answers.push((answer) => {
        if (answer.startsWith(FAILED)) reject(new Error(answer.slice(FAILED.length)));
        else resolve(answer);
      });
    });
  },
};

async function check({ name, run }: Scenario): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`has not ended after ${LIMIT_MS} ms`)), LIMIT_MS);
  });
  const startedAt = performance.now();
  let failure: unknown;
  try {
    await Promise.race([run(peer), limit]);
  } catch (error) {
    failure = error;
  } finally {
    clearTimeout(timer);
  }
  const tookMs = Math.round(performance.now() - startedAt);
  print({ scenario: name, tookMs, ...(failure !== undefined && { failed: `${failure}` }) });
}

process.on("uncaughtException", (error) => print({ uncaught: error.stack ?? `${error}` }));
process.on("unhandledRejection", (error) => {
  print({ uncaught: error instanceof Error ? (error.stack ?? `${error}`) : `${error}` });
});

function applies({ name, on }: Scenario): boolean {
  if (!name.includes(input.filter)) return false;
  if (on === "Node") return input.client === "Node";
  return on === undefined || input.client === input.server;
}

const chosen = scenarios.filter(applies);
const waiting = chosen.filter(({ waits }) => waits === true).map(check);
for (const scenario of chosen) if (scenario.waits !== true) await check(scenario);
await Promise.all(waiting);
isDone = true;
print({ done: true });
