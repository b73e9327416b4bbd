import { expect } from "vitest";
import { end, newId, type SessionPeer } from "./session-peer.ts";
import { type SessionSetup, type SessionWorld, sessionWorld } from "./session-world.ts";

export interface Scene extends AsyncDisposable {
  readonly world: SessionWorld;
  readonly peer: SessionPeer;
}

/** A world with another session on the test's connection; at the end of the test that session must still work. */
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
