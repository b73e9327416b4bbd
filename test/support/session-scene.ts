import { expect } from "vitest";
import { end, newId, type SessionPeer } from "./session-peer.ts";
import { type SessionSetup, type SessionWorld, sessionWorld } from "./session-world.ts";

export interface Scene extends AsyncDisposable {
  readonly world: SessionWorld;
  readonly peer: SessionPeer;
}

/** A world with a session on the connection that the test uses; it must be unharmed when the test is over. */
export async function scene(setup?: SessionSetup): Promise<Scene> {
  const world = await sessionWorld(setup);
  const peer = await world.peer();
  const other = peer.attach(newId());
  other.send("before");
  await other.hears(1);
  return {
    world,
    peer,
    async [Symbol.asyncDispose]() {
      other.send("after", end(2));
      expect(await other.hears(2)).toEqual(["before", "after"]);
      expect(await other.ended()).toMatchObject({ status: 0, sent: "2" });
      other.halfClose();
      expect(world.runs[0]).toMatchObject({ requests: ["before", "after"], end: "half-closed" });
      expect(world.logged).toEqual([]);
      await world[Symbol.asyncDispose]();
    },
  };
}
