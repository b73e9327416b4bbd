/** The limits of `npm run bench`, and how they are judged. */
import { describe, expect, test } from "vitest";
import type { Measured } from "../bench/child.ts";
import {
  boundOf,
  checkAll,
  isLimit,
  lineOf,
  missedOf,
  type Quantity,
  ratiosOf,
  tlsRatiosOf,
} from "../bench/limits.ts";
import { type Cell, cells, nameOf, type Peer, peers, type Role, tlsCells } from "../bench/plan.ts";
import { passes } from "../bench/sessions.ts";
import { type At, findings } from "./support/bench-findings.ts";

/** Returns the limits of one quantity against a peer: the rows of each bound, as "workload streams size". */
function boundsOf(role: Role, quantity: Quantity, theirs: Peer): Record<string, string[]> {
  const bounds: Record<string, string[]> = {};
  for (const cell of cells) {
    const ratio = ratiosOf(role, cell).find(
      (one) => one.quantity === quantity && one.theirs === theirs,
    );
    if (ratio === undefined) continue;
    const bound = boundOf(ratio);
    const key = Object.entries(bound)
      .map(([name, value]) => `${name} ${value}`)
      .join(", ");
    bounds[key] = [...(bounds[key] ?? []), shortName(cell)];
  }
  return bounds;
}

const shortName = ({ workload, streams, size }: Cell) => `${workload} ${streams} ${size}`;

/** The names of rows, of each size. */
const each = (...kinds: string[]) =>
  [15, 1024, 65_536].flatMap((size) => kinds.map((kind) => `${kind} ${size}`));

const LARGER_UNARY = ["unary 1 1024", "unary 100 1024", "unary 1 65536", "unary 100 65536"];

describe("the limits of a server", () => {
  test("bound its CPU by grpc-go's", () => {
    const bounds = boundsOf("server", "cpu", "grpc-go");
    expect(bounds["atMost 0.75"]).toEqual([
      ...each("ping-pong 100", "pipelined 1", "pipelined 100"),
      "unary 1 15",
    ]);
    expect(bounds["atMost 0.85, aim 0.6"]).toEqual(["unary 100 15"]);
    expect(bounds["atMost 1"]).toEqual(each("ping-pong 1", "push 1"));
    expect(bounds[""]).toEqual(LARGER_UNARY);
  });

  test("bound its messages a second by grpc-go's and those of the Node peers", () => {
    const go = boundsOf("server", "rate", "grpc-go");
    expect(go["atLeast 0.9"]).toEqual(each("ping-pong 1"));
    expect(go["atLeast 1.2"]).toEqual([
      ...["ping-pong 100 15", "pipelined 100 15"],
      ...["ping-pong 100 1024", "pipelined 1 1024", "pipelined 100 1024"],
      ...["ping-pong 100 65536", "pipelined 100 65536", "unary 100 15"],
    ]);
    expect(go["atLeast 1"]).toEqual([
      ...["pipelined 1 15", "push 1 15", "push 1 1024"],
      ...["pipelined 1 65536", "push 1 65536", "unary 1 15"],
    ]);
    const js = boundsOf("server", "rate", "grpc-js");
    expect(js["atLeast 0.95"]).toEqual(each("ping-pong 1"));
    const elsewhere = [
      ...each("ping-pong 100", "pipelined 1", "pipelined 100", "push 1"),
      ...["unary 1 15", "unary 100 15"],
    ];
    expect(js["atLeast 1"]).toEqual(elsewhere);
    expect(boundsOf("server", "rate", "connect-node")["atLeast 1"]).toEqual(elsewhere);
  });

  test("bound its CPU by that of a socket in the rows of echoes", () => {
    const bounds = boundsOf("server", "cpu", "socket");
    expect(bounds["atMost 1.3"]).toEqual(each("ping-pong 1"));
    expect(bounds["atMost 2"]).toEqual([
      ...["ping-pong 100 65536", "pipelined 1 65536", "pipelined 100 65536"],
    ]);
    expect(bounds["atMost 5"]).toEqual([
      ...["ping-pong 100 1024", "pipelined 1 1024", "pipelined 100 1024"],
    ]);
  });

  test("bound the p50 of unary calls by grpc-go's", () => {
    expect(boundsOf("server", "p50", "grpc-go")["atMost 1"]).toEqual(["unary 100 15"]);
  });
});

test("the limits of a client bound its CPU by grpc-go's, and nothing else", () => {
  const bounds = boundsOf("client", "cpu", "grpc-go");
  expect(bounds["atMost 0.75"]).toEqual([
    ...["ping-pong 100 15", "pipelined 1 15", "pipelined 100 15"],
    ...["ping-pong 100 1024", "pipelined 1 1024", "pipelined 100 1024", "push 1 1024"],
    ...["ping-pong 100 65536", "pipelined 1 65536", "pipelined 100 65536", "push 1 65536"],
  ]);
  expect(bounds["atMost 1"]).toEqual([
    ...["ping-pong 1 15", "push 1 15", "ping-pong 1 1024", "ping-pong 1 65536"],
  ]);
  expect(bounds["atMost 1.3, aim 1"]).toEqual(["unary 1 15", "unary 100 15"]);
  for (const peer of peers) {
    expect(Object.keys(boundsOf("client", "rate", peer)).join()).toBe("");
    expect(Object.keys(boundsOf("client", "p50", peer)).join()).toBe("");
  }
});

test.each(["server", "client"] as const)("over TLS a %s has limits in each row", (role) => {
  const bounds = tlsCells.flatMap((cell) =>
    tlsRatiosOf(role, cell)
      .filter((ratio) => Object.keys(boundOf(ratio)).length > 0)
      .map((ratio) => [shortName(cell), ratio.theirs, boundOf(ratio)]),
  );
  expect(bounds).toEqual([
    ["unary 100 15", "hawser", { atMost: 1.8 }],
    ["ping-pong 100 15", "hawser", { atMost: 1.8 }],
    ["pipelined 100 1024", "hawser", { atMost: 1.8 }],
    ["push 1 65536", "grpc-js TLS", { atMost: 1 }],
    ...(role === "server" ? [["push 1 65536", "socket TLS", { aim: 1.5 }]] : []),
  ]);
});

test("tonic's CPU is an aim in each row, and no limit", () => {
  for (const role of ["server", "client"] as const) {
    expect(boundsOf(role, "cpu", "tonic")).toEqual({ "aim 1.25": cells.map(shortName) });
  }
});

describe("a run", () => {
  const cell: Cell = { workload: "pipelined", streams: 1, size: 15 };
  const row = `server, ${nameOf(cell)}: CPU divided by grpc-go's`;
  const isRow = (at: At, peer: Peer) =>
    at.role === "server" && nameOf(at.cell) === nameOf(cell) && at.peer === peer;

  /** Every limit is met, except that Hawser's CPU in one row is as given, round by round. */
  const withCpu = (cpuOf: (round: number) => number) =>
    findings({
      change: (at): Partial<Measured> => {
        if (isRow(at, "hawser")) return { cpuMs: cpuOf(at.round) };
        if (at.peer === "hawser TLS") return { cpuMs: 0.1 };
        return at.peer === "hawser" ? { cpuMs: 0.1, messages: 1300 } : {};
      },
      memory: (_role, peer) => ({ used: peer === "hawser" ? 1000 : 1024, rss: 4096 }),
    });

  test("misses a limit by the median of its rounds' ratios, and names the row, the ratio and the limit", () => {
    // What the machine disturbs in two of five rounds does not count.
    const met = checkAll(withCpu((round) => (round < 2 ? 3 : 0.7)));
    expect(missedOf(met)).toEqual([]);
    const missed = missedOf(checkAll(withCpu((round) => (round < 3 ? 0.8 : 0.1))));
    expect(missed.map(lineOf)).toEqual([`missed       ${row}: 0.80, at most 0.75`]);
  });

  test("compares the CPU of a message: the other peer of the same round, not its median", () => {
    // The machine is slow in later rounds, for both: each ratio is 0.5.
    const found = findings({
      change: ({ peer, round }) => ({ cpuMs: (round + 1) * (peer === "hawser" ? 0.5 : 1) }),
    });
    const ratio = checkAll(found).find(({ name }) => name === row);
    expect(ratio?.measured).toBe(0.5);
  });

  test("misses nothing of a peer that the machine does not have, and says so", () => {
    const found = findings({ present: ["hawser", "connect-node", "grpc-js"] });
    const checked = checkAll(found);
    const lines = checked.filter(({ name }) => /grpc-go|tonic/.test(name)).map(lineOf);
    expect(lines).not.toEqual([]);
    for (const line of lines) expect(line).toMatch(/^not measured /);
    expect(missedOf(checked).filter(({ name }) => /grpc-go|tonic/.test(name))).toEqual([]);
  });

  test("misses the limit of memory if a client's idle stream takes more than grpc-js's", () => {
    const found = findings({
      memory: (role, peer) => ({
        used: role === "client" && peer === "hawser" ? 1536 : 1024,
        rss: 1,
      }),
    });
    const lines = missedOf(checkAll(found)).map(lineOf);
    expect(lines).toContain(
      "missed       client, idle stream: memory divided by grpc-js's: 1.50, at most 1",
    );
  });

  test("misses a limit if no message got done", () => {
    const found = findings({ change: () => ({ messages: 0 }) });
    const all = checkAll(found).filter(
      ({ bound, name }) => isLimit(bound) && /CPU|second/.test(name),
    );
    expect(missedOf(checkAll(found))).toEqual(expect.arrayContaining(all));
  });

  test("does not miss an aim", () => {
    const found = findings({
      change: ({ peer }) => (peer === "hawser" ? { cpuMs: 1000 } : {}),
    });
    const aims = checkAll(found).filter(({ bound }) => !isLimit(bound));
    expect(aims.map(({ name }) => name)).toContain(
      "server, ping-pong 1 × 15 B: CPU divided by tonic's",
    );
    expect(missedOf(aims)).toEqual([]);
  });

  test("has figures for each limit", () => {
    for (const one of checkAll(findings())) expect(one.measured, one.name).toBeGreaterThan(0);
  });
});

test("a session passes by its speed, or by the CPU that a message takes more", () => {
  expect(passes({ ratio: 0.85, moreCpuUs: 10 })).toBe(true);
  expect(passes({ ratio: 0.5, moreCpuUs: 0.25 })).toBe(true);
  expect(passes({ ratio: 0.84, moreCpuUs: 0.26 })).toBe(false);
});
