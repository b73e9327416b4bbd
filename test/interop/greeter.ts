/** The classic Greeter on our server, with the switches that README.md beside this file lists. */
import { setTimeout } from "node:timers/promises";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import { type Greeter, MessageResponseSchema } from "../../gen/example/greeter_pb.js";
import {
  Code,
  ConnectError,
  type HandlerContext,
  type ServiceImpl,
  sendHeaders,
} from "../../src/server.ts";

/** google.rpc.ErrorInfo { reason: "ASKED", domain: "example" }, encoded. */
export const ERROR_INFO = {
  type: "google.rpc.ErrorInfo",
  value: new TextEncoder().encode("\x0a\x05ASKED\x12\x07example"),
};

export const FAILURE_MESSAGE = "failed as asked: 100% ünïcode ☂";

/** The error that `x-fail` asks for. */
export function askedFailure(code: Code): ConnectError {
  const error = new ConnectError(FAILURE_MESSAGE, code);
  error.details = [ERROR_INFO, { desc: MessageResponseSchema, value: { reply: "a detail" } }];
  return error;
}

/** Handlers with a memory of how the calls with `x-hold` ended. `drain` is what `x-drain` does. */
export function switchedGreeter(drain: () => void = () => {}): ServiceImpl<typeof Greeter> {
  const calls = new Outcomes();
  return {
    async sayHello({ content }, context) {
      const asked = begin(context);
      failIfAsked(asked);
      const held = asked.get("x-hold");
      if (held !== null) {
        calls.put(`${held} begun`, "yes");
        await aborted(context.signal);
        calls.put(held, ending(context));
        throw context.signal.reason;
      }
      const question = asked.get("x-ask");
      if (question !== null) return { reply: await calls.of(question) };
      if (asked.has("x-deadline")) {
        const leftMs = context.timeoutMs();
        return { reply: leftMs === undefined ? "none" : String(Math.round(leftMs)) };
      }
      return { reply: `Hello, ${content}` };
    },

    async *chat(requests, context) {
      const asked = begin(context);
      if (asked.has("x-headers-first")) sendHeaders(context);
      if (asked.has("x-drain")) drain();
      const endAfter = Number(asked.get("x-end-after") ?? Number.POSITIVE_INFINITY);
      if (endAfter === 0) return;
      await waitIfAsked(asked);
      const held = asked.get("x-hold");
      const late: { reply: string }[] = [];
      let count = 0;
      try {
        for await (const { content } of requests) {
          const reply = { reply: `Received: ${content}` };
          if (asked.has("x-late")) late.push(reply);
          else yield reply;
          failIfAsked(asked);
          if (++count === endAfter) return;
        }
        yield* late;
      } finally {
        if (held !== null) calls.put(held, ending(context));
      }
    },

    async collect(requests, context) {
      const asked = begin(context);
      failIfAsked(asked);
      await waitIfAsked(asked);
      const held = asked.get("x-hold");
      if (held !== null) calls.put(`${held} begun`, "yes");
      let count = 0;
      let bytes = 0n;
      try {
        for await (const { content } of requests) {
          count++;
          bytes += BigInt(Buffer.byteLength(content));
        }
      } finally {
        if (held !== null) calls.put(held, ending(context));
      }
      return { count, bytes };
    },

    async *subscribe({ count, interval }, context) {
      const asked = begin(context);
      const held = asked.get("x-hold");
      const intervalMs =
        interval === undefined ? 1000 : Number(interval.seconds) * 1000 + interval.nanos / 1e6;
      const bytes = asked.get("x-bytes");
      const content = bytes === null ? "notification" : "x".repeat(Number(bytes));
      try {
        for (let sequence = 1n; count === 0 || sequence <= count; sequence++) {
          await setTimeout(intervalMs, undefined, { signal: context.signal });
          yield { sequence, content, time: timestampNow() };
        }
        failIfAsked(asked);
      } finally {
        if (held !== null) calls.put(held, ending(context));
      }
    },
  };
}

/** The switches of a call; what they ask to echo is set on its answer. */
function begin({ requestHeader, responseHeader, responseTrailer }: HandlerContext): Headers {
  requestHeader.forEach((value, name) => {
    if (name.startsWith("x-lead")) responseHeader.set(name, value);
    if (name.startsWith("x-trail")) responseTrailer.set(name, value);
  });
  return requestHeader;
}

function failIfAsked(asked: Headers): void {
  const bytes = asked.get("x-fail-bytes");
  if (bytes !== null) {
    const error = new ConnectError("failed at length", Code.Aborted);
    error.details = [{ type: "example.Large", value: new Uint8Array(Number(bytes)) }];
    throw error;
  }
  const code = asked.get("x-fail");
  if (code !== null) throw askedFailure(Number(code));
}

/** Begins to read requests as much later as `x-wait` asks. */
async function waitIfAsked(asked: Headers): Promise<void> {
  const waitMs = asked.get("x-wait");
  if (waitMs !== null) await setTimeout(Number(waitMs));
}

function ending({ signal }: HandlerContext): string {
  if (!signal.aborted) return "open";
  const deadline = ConnectError.from(signal.reason).code === Code.DeadlineExceeded;
  return deadline ? "deadline" : "canceled";
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
}

/** How held calls ended, for those who ask before or after. */
export class Outcomes {
  readonly #of = new Map<string, PromiseWithResolvers<string>>();

  #slot(id: string): PromiseWithResolvers<string> {
    let slot = this.#of.get(id);
    if (slot === undefined) {
      slot = Promise.withResolvers();
      this.#of.set(id, slot);
    }
    return slot;
  }

  put(id: string, outcome: string): void {
    this.#slot(id).resolve(outcome);
  }

  of(id: string): Promise<string> {
    return this.#slot(id).promise;
  }
}
