import { placeInTopics } from "hawser/topics";

/** With at most this many listeners each change is told immediately. */
const FEW_LISTENERS = 25;

/** With more listeners, changes are told at most once in this time for each of them, in milliseconds. */
const MS_PER_LISTENER = 1;

/** Changes are told after this time at the latest, in milliseconds. */
const LATEST_MS = 5000;

/** The most names that one change has, as room.proto states. */
const NAMES = 100;

/** Returns the shortest time between two events of a room that all of its listeners get, in milliseconds. */
export function pauseMs(listeners: number): number {
  return listeners <= FEW_LISTENERS ? 0 : Math.min(listeners * MS_PER_LISTENER, LATEST_MS);
}

/** Members that have joined or left since the change before. */
export interface MembersChange {
  readonly joined: readonly string[];
  readonly left: readonly string[];
  /** How many others have joined and left. */
  readonly moreJoined: number;
  readonly moreLeft: number;
  /** How many members there are now. */
  readonly count: number;
}

export interface RoomMembersOptions {
  /** Returns how many listeners each event of the room has. */
  readonly listeners: () => number;
  readonly onChange: (change: MembersChange) => void;
}

/**
 * The members of one room, as its listeners know them. To tell a change costs time for each listener. So in a crowded room
 * changes are gathered, and told together: the room costs the same however many join or leave, and however many listen.
 *
 *     add, remove ──> changes that nobody knows yet ──(settle)──> names ──> onChange
 */
export class RoomMembers {
  #names: readonly string[] = [];
  readonly #listeners: () => number;
  readonly #onChange: RoomMembersOptions["onChange"];
  /** How many times each member is here: once for each node. */
  readonly #present = new Map<string, number>();
  /** The members that have joined (`true`) or left since the listeners were told. */
  readonly #changes = new Map<string, boolean>();
  #toldAtMs = Number.NEGATIVE_INFINITY;
  #typingAtMs = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  constructor({ listeners, onChange }: RoomMembersOptions) {
    this.#listeners = listeners;
    this.#onChange = onChange;
  }

  /** The members that the listeners know, in order: another array after each change. */
  get names(): readonly string[] {
    return this.#names;
  }

  /** Whether nobody is here, and everybody knows. */
  get isEmpty(): boolean {
    return this.#present.size === 0 && this.#names.length === 0;
  }

  add(name: string): void {
    const times = (this.#present.get(name) ?? 0) + 1;
    this.#present.set(name, times);
    if (times === 1) this.#change(name, true);
  }

  remove(name: string): void {
    const times = (this.#present.get(name) ?? 0) - 1;
    if (times > 0) this.#present.set(name, times);
    else if (this.#present.delete(name)) this.#change(name, false);
  }

  /** Tells what has changed: now, or when the listeners have had their pause. */
  settle(): void {
    if (this.#changes.size === 0 || this.#timer !== undefined) return;
    const waitMs = this.#toldAtMs + pauseMs(this.#listeners()) - performance.now();
    if (waitMs <= 0) this.#tell();
    else this.#timer = setTimeout(() => this.#tell(), waitMs).unref();
  }

  /** Whether a member that types may be reported now; if so, others wait. */
  mayReportTyping(): boolean {
    const nowMs = performance.now();
    if (nowMs - this.#typingAtMs < pauseMs(this.#listeners())) return false;
    this.#typingAtMs = nowMs;
    return true;
  }

  /** Drops what was not told yet. */
  close(): void {
    clearTimeout(this.#timer);
    this.#changes.clear();
  }

  #change(name: string, isHere: boolean): void {
    // The second change of a member undoes the first one.
    if (!this.#changes.delete(name)) this.#changes.set(name, isHere);
  }

  #tell(): void {
    this.#timer = undefined;
    if (this.#changes.size === 0) return;
    const joined: string[] = [];
    const left: string[] = [];
    const names = [...this.#names];
    for (const [name, isHere] of this.#changes) {
      const place = placeInTopics(names, name);
      if (isHere) names.splice(place, 0, name);
      else names.splice(place, 1);
      (isHere ? joined : left).push(name);
    }
    this.#names = names;
    this.#changes.clear();
    this.#toldAtMs = performance.now();
    const named = joined.slice(0, NAMES);
    const gone = left.slice(0, NAMES - named.length);
    this.#onChange({
      joined: named,
      left: gone,
      moreJoined: joined.length - named.length,
      moreLeft: left.length - gone.length,
      count: names.length,
    });
  }
}
