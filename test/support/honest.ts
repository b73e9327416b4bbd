/** Measures how well a server that is busy with a hostile client serves other clients. */
import { Greeter } from "../../gen/example/greeter_pb.js";
import { createClient, createTransport, type Transport } from "../../src/index.ts";

/** A client that makes a unary call every 40 ms, and waits 4 s for each. */
export interface Honest extends AsyncDisposable {
  /** Calls for `forMs`; resolves when each of these calls has ended. */
  calls(forMs: number): Promise<CallTimes>;
  /** Subscribes, in a session, to three notifications; resolves with how many arrived. */
  subscribes(): Promise<number>;
}

/** The calls of an honest client: makes the function that makes the nth. */
export type HonestCalls = (
  transport: Transport,
) => (n: number, options: { timeoutMs: number }) => Promise<unknown>;

export interface CallTimes {
  readonly calls: number;
  readonly failed: number;
  /** How long the calls took, failed ones too, in milliseconds. */
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly longest: number;
  /** The errors, each once. */
  readonly errors: readonly string[];
}

const EVERY_MS = 40;
const PATIENCE_MS = 4000;

const sayHello: HonestCalls = (transport) => {
  const greeter = createClient(Greeter, transport);
  return (_, options) => greeter.sayHello({ content: "you" }, options);
};

export async function honest(baseUrl: string, calls: HonestCalls = sayHello): Promise<Honest> {
  const transport = createTransport({ baseUrl });
  const greeter = createClient(Greeter, transport);
  const call = calls(transport);
  await greeter.sayHello({ content: "first" });
  let made = 0;
  return {
    async calls(forMs) {
      const took: number[] = [];
      const errors: unknown[] = [];
      const timed = async () => {
        const began = performance.now();
        try {
          await call(++made, { timeoutMs: PATIENCE_MS });
        } catch (error) {
          errors.push(error);
        }
        took.push(performance.now() - began);
      };
      const open: Promise<void>[] = [];
      const until = performance.now() + forMs;
      while (performance.now() < until) {
        open.push(timed());
        await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
      }
      await Promise.all(open);
      return callTimes(took, errors);
    },
    async subscribes() {
      let came = 0;
      for await (const _ of greeter.subscribe({ count: 3, interval: {} })) came++;
      return came;
    },
    [Symbol.asyncDispose]: () => transport.close(),
  };
}

/**
 * Returns the figures of calls.
 *
 * @param took how long each took, in milliseconds, failed ones too
 * @param errors those of the calls that failed
 */
export function callTimes(took: readonly number[], errors: readonly unknown[]): CallTimes {
  const sorted = took.toSorted((a, b) => a - b);
  const at = (part: number) => sorted[Math.floor(sorted.length * part)] ?? 0;
  return {
    ...{ calls: took.length, failed: errors.length },
    ...{ p50: at(0.5), p90: at(0.9), p99: at(0.99), longest: sorted.at(-1) ?? 0 },
    errors: [...new Set(errors.map(String))],
  };
}
