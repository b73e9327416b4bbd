import type { Attacker } from "./attacker.ts";

/**
 * How large an attack is: numbers of connections, streams, bytes. `addresses`: from how many addresses it comes, if the
 * honest client has another one. Default: 1.
 */
export type Size = Readonly<Record<string, number>>;

/** What a hostile client does to a server. It runs in a process of its own, beside an honest client. */
export interface Attack<S extends Size = Size> {
  readonly name: string;
  /** What it does with the first size, for the table. */
  readonly does: string;
  /** The usual size, and two others: the limits must hold for them too. */
  readonly sizes: readonly [S, S, S];
  /** How the server must end each connection of the attack: as a flood, within a second; as a hold, after 10 s. */
  readonly ends?: "flood" | "hold";
  /** How long the attack lasts. Default: 8 s. */
  readonly lastsMs?: number;
  /** For how long the server lawfully keeps what the attack leaves, as sessions without a connection. Default: 0. */
  readonly leavesForMs?: number;
  /** What the honest client calls. Default: `hello`. */
  readonly beside?: "hello" | "post";
  /** Whether an honest session is cut and resumed beside it. Default: false. */
  readonly resumes?: boolean;
  /** Whether the server keeps its rooms on disk. Default: in memory. */
  readonly onDisk?: boolean;
  /** The rooms that the server has before the attack. Default: 0. */
  readonly rooms?: number;
  /** Attacks until it is done, or until the attacker's time is over. It must be bounded in what it sends. */
  run(attacker: Attacker, size: S): Promise<void>;
}

/** Makes an attack whose `run` knows its own sizes. */
export function attack<S extends Size>(of: Attack<S>): Attack {
  // Who runs an attack gives it one of its own sizes.
  return of as unknown as Attack;
}
