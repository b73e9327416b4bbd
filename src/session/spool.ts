import type { SharedFrame } from "../call-stream.ts";
import { PREFIX_BYTES, readLength, writePrefix } from "../flow/length-prefix.ts";
import { messageBuffers } from "../flow/message-buffers.ts";
import { chunkBuffers } from "./chunk-buffers.ts";

/** Messages in pieces that are framed already. */
export interface FramedSource {
  /** Returns the memory of the next piece, if there is one. The piece is the bytes from `start` up to `end` of it. */
  next(): Uint8Array | undefined;
  readonly start: number;
  readonly end: number;
  /** Whether next() would return one small piece, which messages to come may still extend. */
  readonly isGrowing: boolean;
}

/** A larger message that many sessions keep is not copied. A reference to a smaller one would take more memory than its copy. */
const SHARED_COPY_MAX_BYTES = 512;

/** A larger message, with its prefix, has a chunk of its size to itself: little of a chunk stays unused. */
const IN_CHUNK_MAX_BYTES = 16 * 1024;

/** The memory of the runs whose parts a spool keeps, divided by the bytes of its messages, may be at most this; two runs are free. */
const RUN_MEMORY_MAX = 4;

/** The size of chunks grows from the first to the last while messages are kept, so that an idle session stays small. */
const CHUNK_BYTES = { first: 512, last: 32 * 1024 };

/** Chunks of at least this size use the buffers of large messages: new memory costs more than all else in a session. */
const LARGE_BYTES = 16 * 1024;

/** A piece of this size is worth a write of its own. */
const PIECE_BYTES = 8 * 1024;

interface Chunk {
  readonly bytes: Uint8Array;
  /** How much of `bytes` may be used. */
  readonly size: number;
  /** The end of the used part of `bytes`, and the start of what is not acknowledged. */
  used: number;
  from: number;
  /** The number of unacknowledged messages that begin in this chunk. */
  messages: number;
  /**
   * `true`: the chunk holds whole frames. `false`: it holds one message, whose prefix is the end of the chunk before.
   */
  readonly framed: boolean;
  /** Whether `bytes` is used again after the acknowledgement, unless something may still refer to it. */
  isReusable: boolean;
  /** Whether `bytes` is a run of messages that many calls send. */
  readonly isRun: boolean;
  /** How many bytes next() had returned, on the current stream, when it had returned all of this chunk so far. */
  returnedAt: number;
}

/**
 * The messages of a session that are not acknowledged, framed as they are
 * sent. They are kept as few large pieces: one object for each message, kept
 * until the acknowledgement, would cost more than everything else in a session.
 */
export class Spool implements FramedSource {
  #chunks: Chunk[] = [];
  #nextBytes = CHUNK_BYTES.first;
  /** The number of messages that are kept. Only the Spool changes it. */
  messages = 0;
  /** The bytes of those messages without prefixes. Only the Spool changes it. */
  bytes = 0;
  /** The part of `bytes` in memory of this spool alone. Only the Spool changes it. */
  ownBytes = 0;
  /** The index of the chunk from which next() returns, and the start of what it has not returned. */
  #at = 0;
  #offset = 0;
  /** The bytes that next() has returned since the last rewind(). */
  #returned = 0;
  start = 0;
  end = 0;
  /** The memory of the runs of which chunks are parts; of a run with several parts, several times. */
  #runBytes = 0;

  /**
   * Keeps a message. Copies the payload, unless it is shared.
   *
   * @param shared given if other spools keep the same bytes, which never change
   */
  push(flags: number, payload: Uint8Array, shared?: SharedFrame): void {
    const size = payload.length;
    this.messages++;
    this.bytes += size;
    if (shared !== undefined && this.#pushPartOfRun(shared)) return;
    const copied = shared === undefined || size <= SHARED_COPY_MAX_BYTES;
    const chunk = this.#chunkFor(copied ? size + PREFIX_BYTES : PREFIX_BYTES, copied);
    const { bytes, used } = chunk;
    writePrefix(bytes, used, { flags, size });
    if (copied) {
      copy(payload, bytes, used + PREFIX_BYTES);
      this.ownBytes += size;
      chunk.used += size + PREFIX_BYTES;
      chunk.messages++;
      return;
    }
    chunk.used += PREFIX_BYTES;
    this.#add({
      bytes: payload,
      size,
      used: size,
      from: 0,
      messages: 1,
      framed: false,
      isReusable: false,
      isRun: false,
      returnedAt: 0,
    });
  }

  /** Keeps a message as a part of its run. Returns `false` if it is better copied. */
  #pushPartOfRun({ run, start, end }: SharedFrame): boolean {
    const { bytes } = run;
    if (bytes === undefined) return false;
    const last = this.#chunks[this.#chunks.length - 1];
    if (last !== undefined && last.bytes === bytes && last.used === start) {
      last.used = end;
      last.messages++;
      return true;
    }
    if (!this.#mayBeginPart(last, end - start, bytes.length)) return false;
    this.#runBytes += bytes.length;
    this.#add({
      bytes,
      size: end,
      used: end,
      from: start,
      messages: 1,
      framed: true,
      isReusable: false,
      isRun: true,
      returnedAt: 0,
    });
    return true;
  }

  /**
   * Whether a message that does not follow the last one in their run is kept as a part of it nevertheless. It is not if it fits
   * into the last chunk, if the message before it was alone in a part, since such a part takes more memory than a copy, or if
   * the spool keeps too much memory alive by its parts of runs.
   */
  #mayBeginPart(last: Chunk | undefined, bytes: number, runBytes: number): boolean {
    if (last === undefined) return true;
    if (last.isRun ? last.messages === 1 : last.framed && last.size - last.used >= bytes)
      return false;
    return this.#runBytes <= Math.max(this.bytes * RUN_MEMORY_MAX, runBytes);
  }

  #add(chunk: Chunk): void {
    if (this.#chunks.length === 0) this.#offset = chunk.from;
    this.#chunks.push(chunk);
  }

  /** Returns the next piece that was not returned yet, if there is one. */
  next(): Uint8Array | undefined {
    for (;;) {
      const chunk = this.#chunks[this.#at];
      if (chunk === undefined) return undefined;
      const { bytes, used } = chunk;
      if (this.#offset < used) {
        this.start = this.#offset;
        this.end = this.#offset = used;
        this.#returned += used - this.start;
        chunk.returnedAt = this.#returned;
        return bytes;
      }
      // The last chunk may grow.
      if (this.#at === this.#chunks.length - 1) return undefined;
      this.#at++;
      this.#offset = (this.#chunks[this.#at] as Chunk).from;
    }
  }

  get isGrowing(): boolean {
    const chunk = this.#chunks[this.#at];
    if (chunk === undefined || this.#at < this.#chunks.length - 1) return false;
    return chunk.framed && chunk.used - this.#offset < PIECE_BYTES;
  }

  /**
   * Drops the first `count` messages.
   *
   * @param waitingBytes how many of the bytes that next() has returned last may still be read, where they wait to be sent
   */
  drop(count: number, waitingBytes = Number.POSITIVE_INFINITY): void {
    this.messages -= count;
    let rest = count;
    let dropped = 0;
    for (const chunk of this.#chunks) {
      if (chunk.messages > rest) break;
      rest -= chunk.messages;
      this.#forget(chunk, allBytesOf(chunk));
      dropped++;
    }
    // A prefix is dropped only with its message, which is in the next chunk.
    if (dropped > 0 && this.#chunks[dropped]?.framed === false) dropped--;
    if (rest > 0) {
      const chunk = this.#chunks[dropped] as Chunk;
      const { from } = chunk;
      const bytes = bytesOf(chunk, rest);
      this.#forget(chunk, bytes);
      chunk.from = from + bytes + rest * PREFIX_BYTES;
      chunk.messages -= rest;
    }
    if (dropped > 0) {
      for (const chunk of this.#chunks.splice(0, dropped)) {
        if (chunk.isRun) this.#runBytes -= chunk.bytes.length;
        if (chunk.isReusable && this.#returned - chunk.returnedAt >= waitingBytes) {
          giveBack(chunk.bytes);
        }
      }
      this.#at -= dropped;
      if (this.#at < 0) {
        this.#at = 0;
        this.#offset = this.#chunks[0]?.from ?? 0;
      }
    }
    if (this.#chunks.length === 0) this.#nextBytes = CHUNK_BYTES.first;
  }

  /** Counts no longer what messages of a chunk have held. */
  #forget({ framed, isRun }: Chunk, bytes: number): void {
    this.bytes -= bytes;
    if (framed && !isRun) this.ownBytes -= bytes;
  }

  /** Makes next() return again everything after the first `count` messages. */
  rewind(count: number): void {
    let rest = count;
    this.#at = this.#returned = 0;
    // What an earlier stream was given may still wait there.
    for (const chunk of this.#chunks) chunk.isReusable = false;
    // Stops before the last chunk, which may grow, and never between a prefix and its message.
    for (const chunk of this.#chunks.slice(0, -1)) {
      if (rest < chunk.messages || rest === 0) break;
      rest -= chunk.messages;
      this.#at++;
    }
    const chunk = this.#chunks[this.#at];
    if (chunk === undefined) this.#offset = 0;
    else if (rest === 0) this.#offset = chunk.from;
    else
      this.#offset = chunk.from + bytesOf(chunk, rest) + (chunk.framed ? rest * PREFIX_BYTES : 0);
  }

  clear(): void {
    this.#chunks = [];
    this.messages = this.bytes = this.ownBytes = this.#runBytes = 0;
    this.#at = this.#offset = this.#returned = 0;
  }

  /** Returns the last chunk if `bytes` more fit into it, else a new one. */
  #chunkFor(bytes: number, framed: boolean): Chunk {
    // Not [length - 1]: while there is no chunk, V8 would look for a property "-1", and make this access slow for ever.
    const last = this.#chunks.at(-1);
    if (framed && last?.framed === true && last.size - last.used >= bytes) return last;
    const isAlone = !framed || bytes > IN_CHUNK_MAX_BYTES;
    const least = isAlone ? bytes : Math.max(bytes, this.#nextBytes);
    if (!isAlone) this.#nextBytes = Math.min(this.#nextBytes * 2, CHUNK_BYTES.last);
    const isLarge = least >= LARGE_BYTES;
    const memory = isLarge ? messageBuffers.take(least) : chunkBuffers.take(least);
    const chunk: Chunk = {
      bytes: memory,
      size: isLarge ? least : memory.length,
      used: 0,
      from: 0,
      messages: 0,
      framed: true,
      isReusable: true,
      isRun: false,
      returnedAt: 0,
    };
    this.#add(chunk);
    return chunk;
  }
}

function giveBack(memory: Uint8Array): void {
  if (memory.length >= LARGE_BYTES) messageBuffers.giveBack(memory);
  else chunkBuffers.giveBack(memory);
}

/** set() takes longer than a small message does byte by byte. */
function copy(from: Uint8Array, to: Uint8Array, at: number): void {
  if (from.length > 64) to.set(from, at);
  else for (let i = 0; i < from.length; i++) to[at + i] = from[i] as number;
}

/** The bytes of all unacknowledged messages of a chunk, without prefixes. */
function allBytesOf({ framed, messages, used, from }: Chunk): number {
  // A chunk without messages is the prefix of the next one.
  if (messages === 0) return 0;
  return framed ? used - from - messages * PREFIX_BYTES : used;
}

/** The bytes of the first `count` unacknowledged messages of a chunk, without prefixes. */
function bytesOf(chunk: Chunk, count: number): number {
  if (!chunk.framed) return chunk.used;
  const { bytes } = chunk;
  let at = chunk.from;
  for (let left = count; left > 0; left--) {
    at += PREFIX_BYTES + readLength(bytes, at);
  }
  return at - chunk.from - count * PREFIX_BYTES;
}
