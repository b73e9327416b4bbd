/** Posters: each waits for an answer before its next post, and posts as fast as answers arrive, or at a fixed rate. */
import { randomUUID } from "node:crypto";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { JoinRequestSchema, PostRequestSchema } from "../../../gen/chat/v1/room_pb.js";
import { sleep } from "../../../src/flow/wait.ts";
import { emit } from "../../commands.ts";
import { type PostJob, ROOM, TEXT } from "../job.ts";
import { Connection } from "./connection.ts";
import { each } from "./crowd.ts";

/** Posts one message; resolves when it is acknowledged. */
export type Poster = () => Promise<void>;

export interface Pace {
  readonly perSecond: number;
  readonly warmMs: number;
  readonly measureMs: number;
}

/** Runs the posters, and emits how many posts were acknowledged, and their latencies. */
export async function run(posters: readonly Poster[], pace: Pace): Promise<void> {
  const latenciesMs: number[] = [];
  let measuring = false;
  let running = true;
  let messages = 0;
  /** Posts a message. Its latency is measured from the time at which it was due. */
  const post = async (poster: Poster, dueMs: number) => {
    await poster();
    messages++;
    if (measuring) latenciesMs.push(performance.now() - dueMs);
  };
  const closed = async (poster: Poster) => {
    while (running) await post(poster, performance.now());
  };
  /** Gives each post that is due to a free poster. If no poster is free, the post waits, and its latency includes the wait. */
  const open = async () => {
    const free = [...posters];
    const due: number[] = [];
    const busy = new Set<Promise<void>>();
    const failed = Promise.withResolvers<never>();
    const assign = () => {
      while (free.length > 0 && due.length > 0) {
        const poster = free.pop() as Poster;
        const posting = post(poster, due.shift() as number).then(() => {
          free.push(poster);
          busy.delete(posting);
          assign();
        }, failed.reject);
        busy.add(posting);
      }
    };
    const beganMs = performance.now();
    for (let n = 0; running; ) {
      const nowMs = performance.now();
      for (; beganMs + (n * 1000) / pace.perSecond <= nowMs; n++) {
        due.push(beganMs + (n * 1000) / pace.perSecond);
      }
      assign();
      await Promise.race([sleep(1, undefined), failed.promise]);
    }
    await Promise.race([Promise.all(busy), failed.promise]);
  };
  const work = pace.perSecond > 0 ? open() : Promise.all(posters.map(closed));
  const failure = work.then(() => new Promise<never>(() => {}));
  await Promise.race([sleep(pace.warmMs, undefined), failure]);
  emit({ event: "start" });
  measuring = true;
  const before = messages;
  const startedMs = performance.now();
  await Promise.race([sleep(pace.measureMs, undefined), failure]);
  measuring = false;
  const measured = { messages: messages - before, ms: performance.now() - startedMs };
  emit({ event: "end" });
  running = false;
  await work;
  const sorted = Float64Array.from(latenciesMs).sort();
  const quantileUs = (q: number) => (sorted[Math.floor(sorted.length * q)] ?? 0) * 1000;
  emit({ event: "done", ...measured, p50Us: quantileUs(0.5), p99Us: quantileUs(0.99) });
}

export async function post(job: PostJob): Promise<void> {
  const lost = Promise.withResolvers<never>();
  const path = `/chat.v1.RoomService/${job.method}`;
  const connections = Array.from(
    { length: job.connections },
    () => new Connection(job.address, path, lost.reject),
  );
  const posters: Poster[] = [];
  const make = job.method === "Post" ? callPoster : memberPoster;
  const ready = each(job.posters, async (n) => {
    posters.push(await make(connections[n % job.connections] as Connection, `${n}`));
  });
  await Promise.race([ready, lost.promise]);
  await Promise.race([run(posters, job), lost.promise]);
  for (const connection of connections) connection.close();
}

/** Makes a poster that makes one call a post. All such posters are in one room. */
async function callPoster(connection: Connection): Promise<Poster> {
  const producer = randomUUID();
  let sequence = 0n;
  return () =>
    new Promise((resolve, reject) => {
      sequence++;
      const post = { room: ROOM, name: "bench", text: TEXT, producer, sequence };
      const message = toBinary(PostRequestSchema, create(PostRequestSchema, post));
      let answers = 0;
      connection.open(
        { message, isLast: true },
        {
          onMessages: (count) => {
            answers += count;
          },
          onEnd: () => (answers === 1 ? resolve() : reject(new Error("a post was refused"))),
        },
      );
    });
}

/** Makes a poster that is the only member of its room. It gets two responses for each post: the acknowledgement and the message. */
async function memberPoster(connection: Connection, name: string): Promise<Poster> {
  const request = (event: MessageInitShape<typeof JoinRequestSchema>["event"]) =>
    toBinary(JoinRequestSchema, create(JoinRequestSchema, { event }));
  const opened = Promise.withResolvers<void>();
  let sequence = 0n;
  let received = -1;
  let posted: PromiseWithResolvers<void> | undefined;
  const open = { room: `room of ${name}`, name, producer: randomUUID() };
  const message = request({ case: "open", value: open });
  const call = connection.open(
    { message, isLast: false },
    {
      onMessages(count) {
        received += count;
        opened.resolve();
        if (received === 2 * Number(sequence)) posted?.resolve();
      },
      onEnd: () => posted?.reject(new Error("the call of a member was ended")),
    },
  );
  await opened.promise;
  return () => {
    sequence++;
    posted = Promise.withResolvers();
    call.send(request({ case: "say", value: { text: TEXT, sequence } }));
    return posted.promise;
  };
}
