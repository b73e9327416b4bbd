/** Measures how well a server that is busy with a hostile client serves other clients. */
import { Greeter } from "../../gen/example/greeter_pb.js";
import { createClient, createTransport } from "../../src/index.ts";

/** A client that makes a unary call every 40 ms, and waits 4 s for each. */
export interface Honest extends AsyncDisposable {
  /** Calls for `forMs`; resolves when each of these calls has ended. */
  calls(forMs: number): Promise<CallTimes>;
  /** Subscribes, in a session, to three notifications; resolves with how many arrived. */
  subscribes(): Promise<number>;
}

export interface CallTimes {
  readonly calls: number;
  readonly failed: number;
  /** How long the calls took, failed ones too, in milliseconds. */
  readonly p50: number;
  readonly p99: number;
}

const EVERY_MS = 40;
const PATIENCE_MS = 4000;

export async function honest(baseUrl: string): Promise<Honest> {
  const transport = createTransport({ baseUrl });
  const greeter = createClient(Greeter, transport);
  await greeter.sayHello({ content: "first" });
  return {
    async calls(forMs) {
      const took: number[] = [];
      let failed = 0;
      const call = async () => {
        const began = performance.now();
        try {
          await greeter.sayHello({ content: "you" }, { timeoutMs: PATIENCE_MS });
        } catch {
          failed++;
        }
        took.push(performance.now() - began);
      };
      const open: Promise<void>[] = [];
      for (let n = 0; n * EVERY_MS < forMs; n++) {
        open.push(call());
        await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
      }
      await Promise.all(open);
      took.sort((a, b) => a - b);
      const at = (part: number) => took[Math.floor(took.length * part)] as number;
      return { calls: took.length, failed, p50: at(0.5), p99: at(0.99) };
    },
    async subscribes() {
      let came = 0;
      for await (const _ of greeter.subscribe({ count: 3, interval: {} })) came++;
      return came;
    },
    [Symbol.asyncDispose]: () => transport.close(),
  };
}
