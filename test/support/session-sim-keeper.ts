import type { SessionKeeper } from "../../src/session/server-session.ts";

/** Returns a keeper that also calls `onEnded` when its session ends. */
export function notingEnd(keeper: SessionKeeper, onEnded: () => void): SessionKeeper {
  const { settings, clock, acknowledgements, capacity } = keeper;
  return {
    settings,
    clock,
    acknowledgements,
    capacity,
    onFinished: (id) => keeper.onFinished(id),
    onEnded: (id, settled) => {
      onEnded();
      keeper.onEnded(id, settled);
    },
  };
}
