/** The faults of the connections in the sessions' soak. */
import { setTimeout as pause } from "node:timers/promises";
import type { CutKind, Direction, TcpLink } from "../../src/testing/link.ts";
import type { Dice } from "./dice.ts";

/** Between two misfortunes of one connection, in milliseconds. */
const CALM_MS = { least: 20, most: 140 };

/**
 * A busy machine needs longer for what has to come through meanwhile, in bytes to the client: else the same few chats
 * of a connection would win each time.
 */
const CALM_BYTES = { least: 1, most: 10_000, chanceOfNone: 0.15, limitMs: 2000 };

/** Counts of the faults of all connections. */
export interface Damage {
  /** The count of connections that were cut, immediately or after some bytes. */
  cuts: number;
  stalls: number;
  /** Delays: bytes of a link arrived after those that were sent later on another connection. */
  delays: number;
  /** Times of a link that took no connection. */
  refusals: number;
}

/** Cuts and stalls one link until `stop` aborts, then lets it run without faults. */
export async function storm(
  link: TcpLink,
  stop: AbortSignal,
  { dice, damage }: { dice: Dice; damage: Damage },
): Promise<void> {
  while (!stop.aborted) {
    await calm(link, dice, stop);
    // The client has not reconnected yet: a cut now would have no effect, and a scheduled one would hit its handshake.
    if (link.open === 0) continue;
    const misfortune = dice.float();
    const direction = dice.pick<Direction>("up", "down");
    const kind = dice.pick<CutKind>("fin", "rst");
    if (misfortune < 0.55) cut(link, kind, damage);
    else if (misfortune < 0.8) {
      // In the midst of a frame, wherever that is.
      const bytes = dice.between(1, dice.pick(100, 2000, 60_000));
      link.armCut({ direction, bytes, kind }, () => damage.cuts++);
    } else if (misfortune < 0.96) {
      damage.stalls++;
      link.stall(dice.chance(0.5) ? direction : undefined);
      await pause(dice.chance(0.15) ? dice.between(200, 500) : dice.between(2, 60));
      if (dice.chance(0.5)) cut(link, kind, damage);
      link.resume();
    } else if (misfortune < 0.985) {
      damage.delays++;
      link.delay(dice.between(800, 1600), direction);
      await pause(dice.between(20, 150));
      link.delay(0, direction);
      // An impatient client looks for another connection, or this one continues.
      await pause(dice.between(600, 1600));
    } else {
      if (dice.chance(0.5)) continue;
      damage.refusals++;
      link.refuse();
      cut(link, kind, damage);
      await pause(dice.between(1, 20));
      link.accept();
    }
  }
}

/** The time between two misfortunes. */
async function calm(link: TcpLink, dice: Dice, stop: AbortSignal): Promise<void> {
  const { least, most, chanceOfNone, limitMs } = CALM_BYTES;
  const bytes = link.down.delivered + (dice.chance(chanceOfNone) ? 0 : dice.between(least, most));
  const giveUp = performance.now() + limitMs;
  await pause(dice.between(CALM_MS.least, CALM_MS.most));
  while (link.down.delivered < bytes && performance.now() < giveUp && !stop.aborted) {
    await pause(10);
  }
}

function cut(link: TcpLink, kind: CutKind, damage: Damage): void {
  damage.cuts += link.open;
  link.cut(kind);
}
