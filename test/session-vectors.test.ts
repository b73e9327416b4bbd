/** The traces of test/vectors/, which any implementation of sessions can be held against; each file says how to read it. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { play, type Side, type Step, type Trace } from "./support/session-sim-trace.ts";
import { ClientSide } from "./support/session-sim-trace-client.ts";
import { ServerSide } from "./support/session-sim-trace-server.ts";

const FOLDER = new URL("./vectors/", import.meta.url);

interface Vector extends Trace {
  readonly name: string;
  readonly about: readonly string[];
}

const vectors = readdirSync(FOLDER)
  .filter((name) => name.endsWith(".json"))
  .sort()
  .map(
    (name) => [name, JSON.parse(readFileSync(new URL(name, FOLDER), "utf8")) as Vector] as const,
  );

async function playAll(side: Side, steps: readonly Step[]): Promise<Step[]> {
  const played: Step[] = [];
  for (const step of steps) played.push(await play(side, step));
  return played;
}

describe.each(vectors)("%s", (_, { name, about, client, server }) => {
  test("a vector has a description", () => {
    expect(name).not.toBe("");
    expect(about).toEqual(vectors[0]?.[1].about);
  });
  if (client !== undefined) {
    test(`${name}: the client`, async () => {
      expect(await playAll(new ClientSide(client), client.steps)).toEqual(client.steps);
    });
  }
  if (server !== undefined) {
    test(`${name}: the server`, async () => {
      expect(await playAll(new ServerSide(server), server.steps)).toEqual(server.steps);
    });
  }
});

test("there is a trace of each thing that can happen to a session", () => {
  const said = vectors.flatMap(([, { client, server }]) => JSON.stringify([client, server]));
  const all = said.join("");
  for (const reason of [
    "UNKNOWN",
    "EXPIRED",
    "TAKEN_OVER",
    "GAP",
    "NOT_YOURS",
    "SERVER_RESTARTED",
    "UNREACHABLE",
    "PROTOCOL_ERROR",
  ]) {
    expect(all, reason).toContain(reason);
  }
  for (const header of ["session", "attach", "received", "window", "epoch", "opened", "cancel"]) {
    expect(all, header).toContain(`hawser-${header}`);
  }
});
