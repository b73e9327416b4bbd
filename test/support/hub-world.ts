import { setImmediate as turn } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { expect } from "vitest";
import { createHub, type Hub, type HubOptions } from "../../src/topics/hub/hub.ts";
import type {
  HubEvent,
  SubscribeOptions,
  Subscription,
} from "../../src/topics/hub/subscription.ts";
import type { Retention, TopicLog, TopicRecord } from "../../src/topics/log.ts";
import { memoryLog } from "../../src/topics/memory.ts";
import { logWith } from "./log-with.ts";

export const TOPIC = "room/a";

/** A log in memory that counts what it is asked for, and can be made to fail. */
export interface Watched extends TopicLog {
  reads: number;
  pages: number;
  pagesAtOnce: number;
  /** Set: what reads, pages and ends fail with; those that run are cut. */
  away: ConnectError | undefined;
  goAway(): void;
}

function watched(log: TopicLog): Watched {
  let open = 0;
  let cut = new AbortController();
  const check = () => {
    if (self.away !== undefined) throw self.away;
  };
  const self: Watched = {
    ...logWith(log, {
      async page(topic, after, limits) {
        check();
        self.pages++;
        self.pagesAtOnce = Math.max(self.pagesAtOnce, ++open);
        try {
          await turn();
          return await log.page(topic, after, limits);
        } finally {
          open--;
        }
      },
      async *read(topic, after, signal) {
        check();
        self.reads++;
        yield* log.read(topic, after, AbortSignal.any([signal, cut.signal]));
      },
      async oldest(topic) {
        check();
        return log.oldest(topic);
      },
      async end(topic) {
        check();
        return log.end(topic);
      },
      [Symbol.asyncDispose]: () => log[Symbol.asyncDispose](),
    }),
    reads: 0,
    pages: 0,
    pagesAtOnce: 0,
    away: undefined,
    goAway() {
      self.away = new ConnectError("the log is away", Code.Unavailable);
      cut.abort(self.away);
      cut = new AbortController();
    },
  };
  return self;
}

export interface HubWorld extends AsyncDisposable {
  readonly log: Watched;
  readonly hub: Hub<string, string>;
  /** How many records were made for subscribers. */
  readonly made: number;
  /** Adds records with the next numbers, of at least `bytes` each. */
  post(count: number, bytes?: number): Promise<void>;
  subscribe<U = HubEvent<string, string>>(
    options?: SubscribeOptions<string, string, U>,
  ): Subscription<U>;
  /** Ends the subscriptions. */
  abort(): void;
}

export function world(options: HubOptions<string> & { retention?: Retention } = {}): HubWorld {
  const { retention, ...hubOptions } = options;
  const log = watched(memoryLog({ retention }));
  const leaving = new AbortController();
  let made = 0;
  let posted = 0;
  const hub = createHub<string, string>(log, {
    make({ data }: TopicRecord) {
      made++;
      return Buffer.from(data).toString();
    },
    lingerMs: 0,
    ...hubOptions,
  });
  return {
    log,
    hub,
    get made() {
      return made;
    },
    async post(count, bytes = 0) {
      const text = () => `${++posted}`.padEnd(bytes);
      const records = Array.from({ length: count }, () => ({ data: Buffer.from(text()) }));
      await log.append(TOPIC, records);
    },
    subscribe: (options = {}) => hub.subscribe(TOPIC, options, leaving.signal),
    abort: () => leaving.abort(new Error("left")),
    async [Symbol.asyncDispose]() {
      await hub[Symbol.asyncDispose]();
      await log[Symbol.asyncDispose]();
      expect(hub.size).toEqual({ topics: 0, bytes: 0 });
    },
  };
}

/** Takes events as fast as they come; what came is in the order of its coming. */
export function drain<U>(events: AsyncIterable<U>): { events: U[]; over: Promise<unknown> } {
  const came: U[] = [];
  const over = (async () => {
    for await (const event of events) came.push(event);
  })().catch((error: unknown) => error);
  return { events: came, over };
}

/** Records as their numbers, gaps and openings as words. */
export const short = (event: HubEvent<string, string>): string | number => {
  if (event.kind === "record") return Number(event.value);
  if (event.kind === "note") return event.value;
  return event.kind;
};

export const numbers = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, n) => from + n);
