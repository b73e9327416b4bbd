import { randomUUID } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type PresenceRecord,
  PresenceRecordSchema,
  type Present,
  type Roster,
} from "hawser/gen/chat/v1/presence_pb.js";
import { Code, ConnectError, type Logger } from "hawser/server";
import {
  createHub,
  decodeMessage,
  encodeMessage,
  type Hub,
  placeInTopics,
  type TopicLog,
  type TopicRecord,
} from "hawser/topics";
import { pause } from "../pause.ts";
import { type MembersChange, RoomMembers } from "./room-members.ts";

export interface PresenceOptions {
  /** The time between two rosters of a node. Default: 10 s. */
  readonly beatMs?: number;
  /** Returns how many listeners at this node get each event of a room. */
  readonly listeners: (room: string) => number;
  /** Members of a room have joined or left, at any node. */
  readonly onChange: (room: string, change: MembersChange) => void;
  /** A member is typing, at any node. */
  readonly onTyping: (room: string, name: string) => void;
  /** Warned once if the topic has records of another program. Default: `console`. */
  readonly logger?: Pick<Logger, "warn">;
}

/** This is not the topic of a room: those begin with "room/". */
const TOPIC = "presence";

/** A node without a record for this many beats is taken for dead. */
const LEASE_BEATS = 3;

/** The most members in one record of a roster. */
const ROSTER_MEMBERS = 500;

/** The pause before the topic is followed again after a failure. */
const RETRY_MS = 1000;

/** The line break separates them: names have no control characters. */
const keyOf = (room: string, name: string) => `${room}\n${name}`;
const partsOf = (key: string) => key.split("\n") as [room: string, name: string];

/**
 * The members of all rooms, on this node and on those that share its log. Each node
 * writes to one topic which members join and leave there, and at each beat all of its
 * members; each node reads the records of the others. The members of a node that is
 * silent for three beats are removed. Older records are trimmed.
 */
export class Presence implements AsyncDisposable {
  readonly #node = randomUUID();
  readonly #log: TopicLog;
  readonly #hub: Hub;
  readonly #beatMs: number;
  readonly #options: PresenceOptions;
  readonly #logger: Pick<Logger, "warn">;
  readonly #closing = new AbortController();
  /** The count of calls by which each member is at this node. */
  readonly #own = new Map<string, number>();
  readonly #others = new Map<string, Node>();
  readonly #rooms = new Map<string, RoomMembers>();
  /** The rooms in which members have joined or left since the last #settle(). */
  readonly #touched = new Set<string>();
  /** Their names, in order. */
  readonly #names: string[] = [];
  #loaded: PromiseWithResolvers<void> | undefined;
  #following: Promise<void> | undefined;
  #writing: Promise<unknown> = Promise.resolve();
  #beat: NodeJS.Timeout | undefined;
  #warned = false;
  /** Whether a record was written, or could not be written, since the last beat. */
  #changed = false;
  /** The cursors of the newest beats. */
  readonly #beats: string[] = [];

  constructor(log: TopicLog, options: PresenceOptions) {
    const { beatMs = 10_000, logger = console } = options;
    this.#log = log;
    this.#hub = createHub(log);
    this.#beatMs = beatMs;
    this.#options = options;
    this.#logger = logger;
  }

  /** Resolves when the members of the other nodes are known. Rejects with UNAVAILABLE if the log cannot be read. */
  async ready(): Promise<void> {
    this.#loaded ??= newPromise();
    this.#following ??= this.#follow();
    await this.#loaded.promise;
  }

  /** Adds a member until the disposal; a name may be added several times. */
  join(room: string, name: string): Disposable {
    const key = keyOf(room, name);
    const count = (this.#own.get(key) ?? 0) + 1;
    this.#own.set(key, count);
    if (count === 1) {
      this.#add(room, name);
      this.#settle();
      this.#tell({ case: "joined", value: { room, name } });
    }
    let here = true;
    return {
      [Symbol.dispose]: () => {
        if (here) this.#leave(room, name);
        here = false;
      },
    };
  }

  /** Reports that a member of this node is typing, unless others are reported already. */
  typing(room: string, name: string): void {
    if (!this.#reportTyping(room, name)) return;
    // Without other nodes the record has no reader.
    if (this.#others.size > 0) this.#tell({ case: "typing", value: { room, name } });
  }

  /** The names of the members of a room, in order, as its listeners know them. */
  members(room: string): readonly string[] {
    return this.#rooms.get(room)?.names ?? [];
  }

  /** The rooms that have members and follow `after`, in order, at most `limit`. */
  rooms(after: string, limit: number): string[] {
    const place = placeInTopics(this.#names, after);
    const from = this.#names[place] === after ? place + 1 : place;
    return this.#names.slice(from, from + limit);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#beat);
    // The remaining members leave with this node.
    for (const key of [...this.#own.keys()]) {
      const [room, name] = partsOf(key);
      this.#own.set(key, 1);
      this.#leave(room, name);
    }
    await this.#writing;
    const reason = "the rooms are closed: ask another server";
    this.#closing.abort(new ConnectError(reason, Code.Unavailable));
    clearTimeout(this.#beat);
    for (const node of this.#others.values()) clearTimeout(node.expiry);
    for (const members of this.#rooms.values()) members.close();
    await this.#hub[Symbol.asyncDispose]();
    await this.#following;
  }

  #leave(room: string, name: string): void {
    const key = keyOf(room, name);
    const count = this.#own.get(key);
    // The member left with this node.
    if (count === undefined) return;
    if (count > 1) {
      this.#own.set(key, count - 1);
      return;
    }
    this.#own.delete(key);
    this.#remove(room, name);
    this.#settle();
    this.#tell({ case: "left", value: { room, name } });
  }

  #add(room: string, name: string): void {
    (this.#rooms.get(room) ?? this.#open(room)).add(name);
    this.#touched.add(room);
  }

  #open(room: string): RoomMembers {
    const { listeners, onChange } = this.#options;
    const members = new RoomMembers({
      listeners: () => listeners(room),
      onChange: (change) => {
        onChange(room, change);
        this.#closeIfEmpty(room);
      },
    });
    this.#rooms.set(room, members);
    this.#names.splice(placeInTopics(this.#names, room), 0, room);
    return members;
  }

  #remove(room: string, name: string): void {
    this.#rooms.get(room)?.remove(name);
    this.#touched.add(room);
  }

  /** Called after members have joined or left. */
  #settle(): void {
    const touched = [...this.#touched];
    this.#touched.clear();
    for (const room of touched) {
      this.#rooms.get(room)?.settle();
      this.#closeIfEmpty(room);
    }
  }

  #closeIfEmpty(room: string): void {
    const members = this.#rooms.get(room);
    if (members?.isEmpty !== true) return;
    members.close();
    this.#rooms.delete(room);
    this.#names.splice(placeInTopics(this.#names, room), 1);
  }

  /** Returns whether the listeners of this node were told. */
  #reportTyping(room: string, name: string): boolean {
    if (this.#rooms.get(room)?.mayReportTyping() !== true) return false;
    this.#options.onTyping(room, name);
    return true;
  }

  /** Writes one event of this node. The next beat replaces an event that could not be written. */
  #tell(event: Event): void {
    this.#changed = true;
    this.#beat ??= setTimeout(() => void this.#beatNow(), this.#beatMs).unref();
    void this.#write([event]);
  }

  /** Writes in the order of the calls. Resolves with the cursor of the final record, or `undefined` if it failed. */
  #write(events: Event[]): Promise<string | undefined> {
    const leaseMs = this.#beatMs * LEASE_BEATS;
    const records = events.map((event) => ({
      data: encodeMessage(PresenceRecordSchema, { node: this.#node, leaseMs, event }),
    }));
    const written = this.#log.append(TOPIC, records).then(
      (appended) => appended.at(-1)?.cursor,
      () => {
        this.#changed = true;
        return undefined;
      },
    );
    this.#writing = Promise.all([this.#writing, written]);
    return written;
  }

  async #beatNow(): Promise<void> {
    this.#changed = false;
    const cursor = await this.#write(rosterOf([...this.#own.keys()]));
    if (this.#closing.signal.aborted) return;
    if (cursor !== undefined) this.#trim(cursor);
    this.#beat = undefined;
    if (this.#changed || this.#own.size > 0) {
      this.#beat = setTimeout(() => void this.#beatNow(), this.#beatMs).unref();
    }
  }

  /** Trims the records before the beat of one lease ago: each live node has written all of its members since. */
  #trim(cursor: string): void {
    this.#beats.push(cursor);
    if (this.#beats.length <= LEASE_BEATS + 1) return;
    // Records that cannot be trimmed now are trimmed at the next beat.
    const trimmed = this.#log.trim(TOPIC, this.#beats.shift() as string).catch(() => {});
    this.#writing = Promise.all([this.#writing, trimmed]);
  }

  async #follow(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        const { position: end } = await this.#log.end(TOPIC);
        for await (const event of this.#hub.subscribe(TOPIC, { start: "oldest" }, signal)) {
          if (event.kind === "record") this.#take(event.value, event.position <= end);
          if (event.position >= end) this.#loaded?.resolve();
        }
      } catch (error) {
        if (signal.aborted) break;
        // ready() rejects for its callers now; later callers wait for the next attempt.
        this.#loaded?.promise.catch(() => {});
        this.#loaded?.reject(error);
        this.#loaded = newPromise();
        await pause(RETRY_MS, signal).catch(() => {});
      }
    }
    this.#loaded?.promise.catch(() => {});
    this.#loaded?.reject(signal.reason);
  }

  #take({ data, timeMs }: TopicRecord, isHistory: boolean): void {
    const record = this.#decode(data);
    if (record === undefined || record.node === this.#node) return;
    // Clocks differ, and may go back: they count only for records from before this node read, and never lengthen a lease.
    const agoMs = isHistory ? Math.max(Date.now() - timeMs, 0) : 0;
    const leaseMs = record.leaseMs - agoMs;
    if (leaseMs <= 0) return;
    const node: Node = this.#others.get(record.node) ?? { members: new Map(), roster: undefined };
    this.#others.set(record.node, node);
    clearTimeout(node.expiry);
    node.expiry = setTimeout(() => this.#expire(record.node, node), leaseMs).unref();
    this.#apply(node, record, isHistory);
  }

  /**
   * Decodes a record. Returns `undefined` for a record of another program, which must not keep
   * members out of the rooms.
   */
  #decode(data: Uint8Array): PresenceRecord | undefined {
    try {
      return decodeMessage(PresenceRecordSchema, data);
    } catch (error) {
      if (!this.#warned) {
        const what = `the topic ${TOPIC} has a record that is not one of presence; it is left out, as are others like it:`;
        this.#logger.warn(what, error);
      }
      this.#warned = true;
      return undefined;
    }
  }

  #apply(node: Node, { event }: PresenceRecord, isHistory: boolean): void {
    switch (event.case) {
      case "joined":
        this.#enter(node, event.value);
        break;
      case "left":
        this.#exit(node, keyOf(event.value.room, event.value.name));
        break;
      case "typing":
        if (!isHistory) this.#reportTyping(event.value.room, event.value.name);
        break;
      case "roster":
        this.#read(node, event.value);
        break;
    }
    this.#settle();
  }

  #read(node: Node, { present, first, last, members }: Roster): void {
    if (first) node.roster = new Map();
    const { roster } = node;
    // The first part of the roster was trimmed, or was written before this node began to read.
    if (roster === undefined) return;
    for (const one of present) roster.set(keyOf(one.room, one.name), one);
    if (!last) return;
    node.roster = undefined;
    // A part is missing: the roster of the next beat has it.
    if (roster.size < members) return;
    for (const key of [...node.members.keys()]) if (!roster.has(key)) this.#exit(node, key);
    for (const one of roster.values()) this.#enter(node, one);
  }

  #enter(node: Node, one: Present): void {
    const key = keyOf(one.room, one.name);
    if (node.members.has(key)) return;
    node.members.set(key, one);
    this.#add(one.room, one.name);
  }

  #exit(node: Node, key: string): void {
    const one = node.members.get(key);
    if (one === undefined) return;
    node.members.delete(key);
    this.#remove(one.room, one.name);
  }

  #expire(id: string, node: Node): void {
    this.#others.delete(id);
    for (const key of [...node.members.keys()]) this.#exit(node, key);
    this.#settle();
  }
}

/** Another node, as known from its records. */
interface Node {
  readonly members: Map<string, Present>;
  /** The parts of a roster that have arrived. */
  roster: Map<string, Present> | undefined;
  expiry?: NodeJS.Timeout;
}

type Event = NonNullable<MessageInitShape<typeof PresenceRecordSchema>["event"]>;

function rosterOf(keys: string[]): Event[] {
  const present = keys.map(partsOf).map(([room, name]) => ({ room, name }));
  const parts: Event[] = [];
  for (let from = 0; from === 0 || from < present.length; from += ROSTER_MEMBERS) {
    const to = from + ROSTER_MEMBERS;
    parts.push({
      case: "roster",
      value: {
        present: present.slice(from, to),
        first: from === 0,
        last: to >= present.length,
        members: present.length,
      },
    });
  }
  return parts;
}

function newPromise(): PromiseWithResolvers<void> {
  return Promise.withResolvers();
}
