/**
 * Echoed messages between two engines with windows of any size, pipes that block, readers that pause and calls that are
 * cancelled. Every message must arrive whole and in order, and no stream may be left.
 *
 *     HAWSER_SEED=17 HAWSER_RUNS=1 npx vitest run test/http2/flow-control.test.ts     the run with seed 17 alone
 *     HAWSER_RUNS=5000 npx vitest run test/http2/flow-control.test.ts                 more runs
 */
import { crc32 } from "node:zlib";
import { expect, test, vi } from "vitest";
import { Flag, frame, Http2Code, Type } from "../support/wire.ts";
import type { End } from "./support/end.ts";
import { answering, request } from "./support/exchanges.ts";
import { Link } from "./support/link.ts";
import { MessageCutter } from "./support/message-cutter.ts";
import { Random } from "./support/random.ts";
import { RawPeer, requestFrame } from "./support/raw-peer.ts";
import type { StreamLog } from "./support/stream-log.ts";

/** A busy machine takes several times as long. */
vi.setConfig({ testTimeout: 60_000 });

const FIRST_SEED = Number(process.env.HAWSER_SEED ?? 1);
const RUNS = Number(process.env.HAWSER_RUNS ?? 45);
const TRAILERS = ["grpc-status", "0"];

/** A call that sends `left` more messages, and gets each back. */
interface Call {
  readonly log: StreamLog;
  readonly sent: number[];
  readonly received: MessageCutter;
  readonly isCancelled: boolean;
  left: number;
}

class Run {
  readonly random: Random;
  readonly link: Link;
  readonly calls: Call[] = [];
  messages = 0;
  /** While false, everything that waits is delivered, and nothing pauses any more. */
  #isUnsteady = true;
  readonly #echoes = new Map<StreamLog, Echo>();

  constructor(seed: number) {
    this.random = new Random(seed);
    const cut = (_: number, waiting: number) => {
      if (!this.#isUnsteady) return waiting;
      if (this.random.chance(0.2)) return 0;
      return Math.min(waiting, 1 + this.random.below(this.random.chance(0.3) ? 12 : 70_000));
    };
    this.link = new Link({
      up: cut,
      down: cut,
      client: this.#options(),
      server: {
        ...this.#options(),
        onRequest: (log) => this.#echoes.set(log, new Echo(log, this.random.chance(0.5))),
        hooks: {
          data: (log, bytes) => {
            this.#echoes.get(log)?.received.push(bytes);
            this.#pause(log);
          },
          drain: (log) => this.#echoes.get(log)?.drain(),
          end: (log) => this.#echoes.get(log)?.end(),
        },
      },
    });
  }

  /** Random windows; SETTINGS_INITIAL_WINDOW_SIZE may be below the default. */
  #options() {
    return {
      streamWindowBytes: this.random.pick([100, 5000, 65_535, 2 ** 20]),
      connectionWindowBytes: 65_535 + this.random.below(200_000),
      blocksWhenFull: this.random.chance(0.5),
      abuseBudget: 1e9,
      minPingIntervalMs: 0,
    };
  }

  #pause(log: StreamLog): void {
    if (this.#isUnsteady && this.random.chance(0.1)) log.holdsCredit = true;
  }

  play(): void {
    const total = 1 + this.random.below(10);
    for (
      let step = 0;
      this.calls.length < total || this.calls.some(({ left }) => left > 0);
      step++
    ) {
      if (step > 200_000) throw new Error(`messages wait for ever: ${this.#open()}`);
      if (this.calls.length < total && this.random.chance(0.3)) this.#call();
      for (const call of this.calls) if (this.random.chance(0.5)) this.#send(call);
      for (const end of [this.link.client, this.link.server]) this.#disturb(end);
      this.link.up.step();
      this.link.down.step();
    }
    this.#isUnsteady = false;
    const ends = [this.link.client, this.link.server];
    do {
      for (const end of ends) this.#release(end);
      this.link.run();
      // Output that was full has blocked its connection.
      for (const { connection } of ends) connection.unblock();
    } while (ends.some(({ hasOutput }) => hasOutput));
  }

  #release(end: End): void {
    for (const log of end.openStreams) {
      log.holdsCredit = false;
      log.release();
    }
  }

  #call(): void {
    const received = new MessageCutter();
    const log = this.link.client.open(request("/echo"), {
      data: (log, bytes) => {
        received.push(bytes);
        this.#pause(log);
      },
    });
    log.countsOnly = true;
    const isCancelled = this.random.chance(0.15);
    this.calls.push({ log, sent: [], received, isCancelled, left: 1 + this.random.below(40) });
  }

  #send(call: Call): void {
    if (call.left === 0) return;
    if (call.log.closed !== undefined) throw new Error(`a call ended: ${call.log.closed.reason}`);
    call.left--;
    const message = this.random.bytes(this.random.below(this.random.chance(0.95) ? 60 : 50_000));
    call.sent.push(crc32(message));
    call.log.writeMessage(message);
    this.messages++;
    if (call.left > 0) return;
    if (call.isCancelled) call.log.stream.reset(Http2Code.CANCEL);
    else call.log.stream.end();
  }

  /** Blocks the pipe or opens it, continues what paused, changes a window. */
  #disturb(end: End): void {
    if (this.random.chance(0.1)) end.connection.block();
    else if (this.random.chance(0.3)) end.connection.unblock();
    for (const log of end.openStreams) {
      if (this.random.chance(0.02)) log.stream.setWindow(65_535 + this.random.below(500_000));
      if (!log.holdsCredit || this.random.chance(0.7)) continue;
      log.release(this.random.below(log.heldBytes + 1));
      if (this.random.chance(0.5)) {
        log.holdsCredit = false;
        log.release();
      }
    }
  }

  #open(): string {
    return this.calls
      .filter(({ log }) => log.closed === undefined)
      .map(({ log, left }) => `${log.stream.id}: ${left} left, ${log.stream.waitingBytes} B wait`)
      .join("; ");
  }
}

/** The server's side of a call. */
class Echo {
  readonly received: MessageCutter;
  readonly #log: StreamLog;
  readonly #waits: boolean;
  #queue: Buffer[] = [];
  #isFree = true;
  #ended = false;

  /** With `waits` it writes nothing until onDrain() after a write() that returned false. */
  constructor(log: StreamLog, waits: boolean) {
    this.#log = log;
    this.#waits = waits;
    log.countsOnly = true;
    log.stream.sendHeaders([":status", "200", "content-type", "application/grpc"]);
    this.received = new MessageCutter((message) => {
      this.#queue.push(Buffer.from(message));
      this.#write();
    });
  }

  drain(): void {
    this.#isFree = true;
    this.#write();
  }

  end(): void {
    this.#ended = true;
    this.#write();
  }

  #write(): void {
    while (this.#queue.length > 0 && (this.#isFree || !this.#waits)) {
      this.#isFree = this.#log.writeMessage(this.#queue.shift() as Buffer);
    }
    if (this.#ended && this.#queue.length === 0) this.#log.stream.end(TRAILERS);
  }
}

test("all messages arrive whole and in order, whatever the windows, pauses and cancels", () => {
  let messages = 0;
  for (let seed = FIRST_SEED; seed < FIRST_SEED + RUNS; seed++) {
    const run = new Run(seed);
    run.play();
    const { client, server } = run.link;
    expect(run.link.violations, `seed ${seed}`).toEqual([]);
    for (const { log, sent, received, isCancelled } of run.calls) {
      const what = `seed ${seed}, stream ${log.stream.id}`;
      if (isCancelled) {
        expect(log.closed?.by, what).toBe("reset");
        expect(sent.slice(0, received.checksums.length), what).toEqual(received.checksums);
        continue;
      }
      expect(log.closed, what).toMatchObject({ by: "ended", code: Http2Code.NO_ERROR });
      expect(received.checksums, what).toEqual(sent);
      expect(log.trailers, what).toEqual(TRAILERS);
    }
    for (const end of [client, server]) {
      expect(end.end, `seed ${seed}`).toBeUndefined();
      expect(end.openStreams, `seed ${seed}`).toEqual([]);
      expect(end.connection.openStreams, `seed ${seed}`).toBe(0);
    }
    messages += run.messages;
  }
  if (FIRST_SEED === 1 && RUNS >= 45) expect(messages).toBeGreaterThan(3000);
});

test("padding counts for the windows, and its credit comes back at once", () => {
  const server = new RawPeer({ role: "server", ...answering }).begin();
  server.write(requestFrame(1, "/endless"));
  // 120 bytes of padding after more data.
  const padded = frame(Type.DATA, Flag.PADDED, 1, Buffer.alloc(300).fill(120, 0, 1));
  let allowed = 65_535;
  for (let sent = 0; sent < 1000; sent++) {
    allowed -= padded.length - 9;
    expect(allowed).toBeGreaterThan(0);
    server.write(padded);
    const updates = server.frames.splice(0).filter((f) => f.type === Type.WINDOW_UPDATE);
    for (const { stream, payload } of updates) if (stream === 1) allowed += payload.readUInt32BE(0);
  }
  expect(server.end.end).toBeUndefined();
});
