/** What docs/runtimes.md says of `npm run runtimes`. */
import { describe, expect, test } from "vitest";
import { CLIENT_ENDS, SERVER_ENDS } from "./runtimes/pair.ts";
import { scenarios } from "./runtimes/programs/scenarios.ts";
import { sources } from "./runtimes/runtimes.ts";
import { tableOf } from "./support/readme.ts";

const PAGE = "docs/runtimes.md";
const RUNS_AS = { each: "client, server, both", Node: "server", itself: "both" } as const;

describe("the page about Bun and Deno", () => {
  test("names the versions that the run fetches", () => {
    const named = tableOf("Runtime", PAGE).map(([name, version]) => [name, version]);
    expect(named).toEqual(sources.map(({ name, version }) => [name, version]));
  });

  test("lists every scenario of the run, in order, with the pairs that run it", () => {
    expect(tableOf("Scenario", PAGE)).toEqual([
      ...scenarios.map(({ name, on }) => [name, RUNS_AS[on ?? "each"]]),
      [CLIENT_ENDS, RUNS_AS.each],
      [SERVER_ENDS, RUNS_AS.each],
    ]);
  });
});
