/** What `npm run bench` writes: RESULTS.md and the charts. */
import { describe, expect, test } from "vitest";
import { overview, panels } from "../bench/chart.ts";
import { bytesOnWire, cells, nameOf, type Peer, peers, roles, tlsCells } from "../bench/plan.ts";
import { type Method, report } from "../bench/report.ts";
import { findings } from "./support/bench-findings.ts";

const method: Method = {
  date: "2026-01-31",
  machine: "2 cores",
  versions: ["hawser 1.2.3", "tonic 0.14"],
  peers,
  loadName: "grpc-go",
  target: "hawser",
  rounds: 5,
  roundsOfLimits: 5,
  warmMs: 250,
  measureMs: 1000,
};

/** Hawser's measurements with which it keeps every limit. */
const keepsAll = findings({
  change: ({ peer }) => (peer.startsWith("hawser") ? { cpuMs: 0.1, messages: 1300 } : {}),
  memory: (_role, peer) => ({ used: peer === "hawser" ? 1000 : 1024, rss: 4096 }),
});

/** The lines of a table whose first column is `name`. */
const rowsOf = (text: string, name: string) =>
  text.split("\n").filter((line) => line.startsWith(`| ${name} |`));

describe("the report", () => {
  test("has each row as a server, as a client, and over TLS, and a figure in each place", () => {
    const text = report(method, keepsAll);
    for (const cell of cells) {
      // CPU, its ratios, messages a second, their ratios; latency where there are round trips.
      const hasLatency = cell.workload === "ping-pong" || cell.workload === "unary";
      const overTls = tlsCells.some((tls) => nameOf(tls) === nameOf(cell));
      const tables = hasLatency ? 5 : 4;
      expect(rowsOf(text, nameOf(cell)), nameOf(cell)).toHaveLength(
        2 * (tables + (overTls ? 1 : 0)),
      );
    }
    expect(text).not.toMatch(/NaN|undefined|Infinity|\[object/);
  });

  test("has CPU before messages a second", () => {
    const text = report(method, keepsAll);
    expect(text.indexOf("CPU seconds of the server's process")).toBeGreaterThan(0);
    expect(text.indexOf("CPU seconds of the server's process")).toBeLessThan(
      text.indexOf("Messages a second (calls"),
    );
  });

  test("says that all limits are met, or which are missed, with their numbers", () => {
    expect(report(method, keepsAll)).toMatch(/All \d+ limits are met\./);
    const slow = findings({
      change: ({ peer, role, cell }) => {
        const isSlow = peer === "hawser" && role === "client" && nameOf(cell) === "push 1 × 1024 B";
        if (isSlow) return { cpuMs: 0.9 };
        return peer.startsWith("hawser") ? { cpuMs: 0.1, messages: 1300 } : {};
      },
      memory: (_role, peer) => ({ used: peer === "hawser" ? 1000 : 1024, rss: 4096 }),
    });
    const text = report(method, slow);
    expect(text).toContain(
      "* client, push 1 × 1024 B: CPU divided by grpc-go's: 0.90, at most 0.75",
    );
    expect(rowsOf(text, "push 1 × 1024 B").join("\n")).toContain("**0.90 (≤ 0.75)**");
  });

  test("says if there were too few rounds to judge the limits by", () => {
    const few = "This run had 1: too few to judge by.";
    expect(report(method, keepsAll)).not.toContain("too few");
    expect(report({ ...method, rounds: 1 }, keepsAll)).toContain(few);
  });

  test("shows what a machine without Go and cargo measures", () => {
    const present: readonly Peer[] = ["hawser", "connect-node", "grpc-js"];
    const text = report({ ...method, peers: present }, findings({ present }));
    expect(text).not.toMatch(/NaN|undefined|Infinity/);
    expect(rowsOf(text, "unary 100 × 15 B").join("\n")).toContain(" – ");
  });
});

describe("the charts", () => {
  const bars = (svg: string) => svg.match(/<rect [^>]*class="(?!card)\w+"/g)?.length;

  test.each(roles)("have a bar for each peer in each row, as a %s", (role) => {
    const svg = panels(peers, keepsAll.cleartext, role);
    expect(bars(svg)).toBe(cells.length * peers.length);
    expect(svg).not.toMatch(/NaN|undefined|Infinity/);
    for (const peer of peers) expect(svg).toContain(`>${peer}<`);
  });

  test("show the same rows of both roles side by side", () => {
    const svg = overview(peers, keepsAll.cleartext);
    const titles = [...svg.matchAll(/class="row">([^<]*,[^<]*)</g)].map(([, title]) => title);
    expect(titles.slice(0, titles.length / 2)).toEqual(titles.slice(titles.length / 2));
    expect(bars(svg)).toBe(titles.length * peers.length);
  });

  test("have no figure for a peer that got no message done", () => {
    const found = findings({ change: ({ peer }) => (peer === "grpc-js" ? { messages: 0 } : {}) });
    const svg = panels(peers, found.cleartext, "server");
    expect(svg).not.toMatch(/NaN|Infinity/);
    expect(svg.match(/>–</g)).toHaveLength(cells.length);
  });

  test("draw the longest bar at full length, others in proportion, and cut connect-node's", () => {
    const found = findings({
      change: ({ peer }) => ({
        cpuMs: { hawser: 1, "grpc-go": 4, "connect-node": 40 }[peer as string] ?? 2,
      }),
    });
    const svg = panels(peers, found.cleartext, "client");
    const widths = (colour: string) =>
      new Set(
        [...svg.matchAll(new RegExp(`width="([\\d.]+)"[^>]*class="${colour}"`, "g"))].map(
          ([, width]) => Number(width),
        ),
      );
    const [longest = 0] = widths("green");
    expect([...widths("blue")]).toEqual([longest / 4]);
    expect([...widths("pink")]).toEqual([longest]);
    expect(svg.match(/class="gap"/g)).toHaveLength(cells.length);
  });
});

test("the socket echoes the bytes of a DATA frame, with the HEADERS frames of a unary call", () => {
  // 9 B of HTTP/2, 5 B of gRPC, the tag and the length of the field, "Received: ".
  expect(bytesOnWire({ workload: "ping-pong", size: 15 })).toBe(9 + 5 + 2 + 10 + 15);
  expect(bytesOnWire({ workload: "pipelined", size: 1024 })).toBe(9 + 5 + 3 + 10 + 1024);
  expect(bytesOnWire({ workload: "push", size: 65_536 })).toBe(9 + 5 + 4 + 65_536);
  expect(bytesOnWire({ workload: "unary", size: 15 })).toBe(9 + 5 + 2 + 7 + 15 + 22);
});
