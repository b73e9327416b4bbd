import { type Caller, type CallerLimit, createCallerLimit } from "hawser/server";

export interface ListenerLimits {
  /** How many calls of Join and Watch there may be in all rooms. Default: 100,000. */
  readonly maxListeners?: number;
  /** How many of them there may be in one room. Default: 20,000. */
  readonly maxListenersInRoom?: number;
}

const WHAT = "members and watchers";

/** The calls of Join and Watch. Callers share what the rooms together, and each of them, may have. */
export class Listeners {
  readonly #maxInRoom: number;
  readonly #all: CallerLimit;
  readonly #rooms = new Map<string, CallerLimit>();

  constructor({ maxListeners = 100_000, maxListenersInRoom = 20_000 }: ListenerLimits) {
    this.#maxInRoom = maxListenersInRoom;
    this.#all = createCallerLimit({ name: "maxListeners", total: maxListeners, what: WHAT });
  }

  /** Counts a call until the disposal. Throws RESOURCE_EXHAUSTED if its caller may have no more. */
  enter(room: string, caller: Caller): Disposable {
    const limit = this.#rooms.get(room) ?? this.#limitOfRoom();
    const inRoom = limit.take(caller);
    let inAll: Disposable;
    try {
      inAll = this.#all.take(caller);
    } catch (error) {
      inRoom[Symbol.dispose]();
      throw error;
    }
    this.#rooms.set(room, limit);
    return {
      [Symbol.dispose]: () => {
        inAll[Symbol.dispose]();
        inRoom[Symbol.dispose]();
        if (limit.held === 0) this.#rooms.delete(room);
      },
    };
  }

  /** How many calls there are in a room. */
  count(room: string): number {
    return this.#rooms.get(room)?.held ?? 0;
  }

  #limitOfRoom(): CallerLimit {
    const [name, of] = ["maxListenersInRoom", "the room"];
    return createCallerLimit({ name, of, total: this.#maxInRoom, what: WHAT });
  }
}
