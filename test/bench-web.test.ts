/** `npm run bench:web`: its limits, what it reads of processes and profiles, its link, and what it writes. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { lineOf, missedOf } from "../bench/limits.ts";
import { cpuOf, type ProcessEntry } from "../bench/web/browser.ts";
import { chart } from "../bench/web/chart.ts";
import type { LoadJob, Peer } from "../bench/web/job.ts";
import { checkAll } from "../bench/web/limits.ts";
import { openLossyLink } from "../bench/web/link.ts";
import { Gauge, load } from "../bench/web/load/load.ts";
import { type PageProfile, withFiles } from "../bench/web/page-profiler.ts";
import {
  type Findings,
  measuredKey,
  nameOf,
  noFindings,
  peersOf,
  rows,
  trip,
} from "../bench/web/plan.ts";
import type { ProfiledSide } from "../bench/web/profile.ts";
import { report } from "../bench/web/report.ts";
import type { Loss, Row, WebMeasured } from "../bench/web/stage.ts";

const ROUNDS = 5;

interface At {
  readonly row: Row;
  readonly peer: Peer;
  readonly round: number;
}

/** How fast each peer is, so that all limits are met. */
function rateOf(peer: Peer, { workload }: Row): number {
  if (workload === "ping-pong") return peer === "JSON messages" ? 1500 : 1000;
  return peer === "JSON messages" || peer === "socket.io" ? 1000 : 20_000;
}

/** Returns measurements with which all limits are met, except for what is changed. */
function findings(change: (at: At) => Partial<WebMeasured> = () => ({})): Findings {
  const found = noFindings();
  for (const row of [...rows, trip]) {
    for (const peer of peersOf(row)) {
      const rounds = Array.from({ length: ROUNDS }, (_, round) => {
        const server = peer.startsWith("hawser") ? 1000 : 400;
        const measured: WebMeasured = {
          messages: rateOf(peer, row),
          ms: 1000,
          longestTaskMs: peer === "hawser tcp" ? Number.NaN : 0,
          cpuMs: { server, renderer: 500, chromium: peer === "hawser tcp" ? Number.NaN : 900 },
        };
        return { ...measured, ...change({ row, peer, round }) };
      });
      found.measured.set(measuredKey(row, peer), rounds);
    }
  }
  const loss: Loss = { openAfterMs: 10, sent: 100, lost: 0, wrong: 0 };
  for (let round = 0; round < ROUNDS; round++) {
    found.cuts.push(loss);
    found.silences.push({ ...loss, openAfterMs: 2010 });
    found.unread.push({ halfBytes: 70_000, bytes: 70_000, calls: 100, slowestMs: 4 });
  }
  return found;
}

const missedLines = (found: Findings) => missedOf(checkAll(found)).map(lineOf);
const isEcho = ({ row, peer }: At, which: Peer) => peer === which && nameOf(row) === "echo 15 B";

describe("the limits", () => {
  test("are those of an echo, a push, sessions, a round trip, tasks, losses and windows", () => {
    const all = checkAll(findings()).map(({ name, bound }) => [name, bound]);
    expect(all).toEqual([
      ["echo 15 B: messages a second divided by those of JSON messages", { atLeast: 20 }],
      ["echo 15 B: messages a second divided by those of socket.io", { atLeast: 20 }],
      ["echo 1 KiB: messages a second divided by those of JSON messages", { atLeast: 4 }],
      ["push 1 KiB: messages a second divided by those of JSON messages", { atLeast: 6 }],
      ["push 1 KiB: messages a second divided by those of 64 KiB frames", { atLeast: 0.55 }],
      ...rows.map((row) => [
        `${nameOf(row)}: messages a second divided by those of JSON arrays`,
        { aim: 1 },
      ]),
      ["echo 15 B: the server's CPU of JSON messages divided by Hawser's", { atLeast: 6 }],
      ["echo 15 B: the server's CPU of socket.io divided by Hawser's", { atLeast: 8 }],
      ...rows.map((row) => [
        `${nameOf(row)}: messages a second in sessions divided by those without`,
        { atLeast: 0.75 },
      ]),
      ["one at a time 15 B: a round trip divided by that of a bare WebSocket", { atMost: 1.6 }],
      ...[...rows, trip].map((row) => [
        `${nameOf(row)}: the longest task of the page in the median round, in ms`,
        { atMost: 50 },
      ]),
      ["a cut: until the chat is open again, in ms", { atMost: 500 }],
      ["a silent link: until the chat is open again, in ms", { atMost: 2500 }],
      ["a cut, a silent link: lost messages", { atMost: 0 }],
      ["a cut, a silent link: repeated messages, or in another order", { atMost: 0 }],
      ["a push that is not read: bytes that arrive in the second half of the time", { atMost: 0 }],
      ["a push that is not read: bytes in the page, one window", { atMost: 77_823 }],
      ["a push that is not read: other calls that were made meanwhile", { atLeast: 50 }],
    ]);
  });

  test("are all met by a run that keeps them, and each has a figure", () => {
    expect(missedLines(findings())).toEqual([]);
    for (const { measured, name } of checkAll(findings())) expect(measured, name).not.toBeNaN();
  });

  test("are judged by the median of the ratios within the rounds", () => {
    // In each round both are as slow as the machine is then; in two of them only Hawser is.
    const found = findings((at) => {
      const slow = at.round + 1;
      if (isEcho(at, "JSON messages")) return { messages: 1000 / slow };
      if (!isEcho(at, "hawser")) return {};
      return { messages: (at.round < 2 ? 1000 : 21_000) / slow };
    });
    const [first] = checkAll(found);
    expect(first?.measured).toBeCloseTo(21);
    expect(missedLines(found).join()).not.toContain("those of JSON messages");
  });

  test("count the server's CPU of a message, not of a run", () => {
    const found = findings((at) =>
      isEcho(at, "hawser") ? { cpuMs: { server: 1500, renderer: 1, chromium: 1 } } : {},
    );
    expect(missedLines(found)).toEqual([
      "missed       echo 15 B: the server's CPU of JSON messages divided by Hawser's: 5.33, at least 6",
      "missed       echo 15 B: the server's CPU of socket.io divided by Hawser's: 5.33, at least 8",
    ]);
  });

  test("of what must always hold are judged by the worst round", () => {
    const found = findings();
    found.cuts.push({ openAfterMs: 501, sent: 10, lost: 1, wrong: 0 });
    found.silences.push({ openAfterMs: 2501, sent: 10, lost: 0, wrong: 2 });
    found.unread.push({ halfBytes: 70_000, bytes: 80_000, calls: 3, slowestMs: 900 });
    expect(missedLines(found)).toEqual([
      "missed       a cut: until the chat is open again, in ms: 501.00, at most 500",
      "missed       a silent link: until the chat is open again, in ms: 2501.00, at most 2500",
      "missed       a cut, a silent link: lost messages: 1.00, at most 0",
      "missed       a cut, a silent link: repeated messages, or in another order: 2.00, at most 0",
      "missed       a push that is not read: bytes that arrive in the second half of the time: 10000.00, at most 0",
      "missed       a push that is not read: bytes in the page, one window: 80000.00, at most 77823",
      "missed       a push that is not read: other calls that were made meanwhile: 3.00, at least 50",
    ]);
  });

  test("do not have Hawser over TCP, and JSON arrays are an aim", () => {
    const found = findings(({ peer }) =>
      peer === "hawser tcp" || peer === "JSON arrays" ? { messages: 1_000_000 } : {},
    );
    expect(missedLines(found)).toEqual([]);
  });

  test("are missed if nothing was measured", () => {
    expect(missedOf(checkAll(noFindings())).length).toBeGreaterThan(15);
  });
});

test("the CPU of a browser is that of its processes, and of their processes", () => {
  const entry = (pid: number, parent: number, command: string, cpuMs: number): ProcessEntry => ({
    ...{ pid, parent, command, cpuMs },
  });
  const all = [
    entry(9, 8, "chromium\0--type=renderer", 100),
    entry(7, 5, "chromium\0--type=utility", 30),
    entry(8, 5, "chromium\0--type=zygote", 1),
    entry(5, 1, "chromium\0--headless", 20),
    entry(6, 1, "chromium\0--type=renderer", 5000),
    entry(1, 0, "node", 7000),
  ];
  expect(cpuOf(all, 5)).toEqual({ rendererMs: 100, chromiumMs: 151 });
});

test("a function of a bundle is in the file that the bundler has named before it", () => {
  const script = [
    "var a = 1;",
    "// src/http2/output.ts",
    "function take() {",
    "  // src/not a file",
    "}",
    "// node_modules/x/dist/index.js",
    "function other() {}",
  ].join("\n");
  const at = (functionName: string, lineNumber: number, url = "http://127.0.0.1/page.js") => ({
    ...{ functionName, lineNumber, url },
  });
  const frames = [at("take", 4), at("other", 6), at("send", -1, ""), at("first", 0)];
  const nodes = frames.map((callFrame, id) => ({ id, callFrame }));
  const profile: PageProfile = { nodes, samples: [], timeDeltas: [], startTime: 0 };
  expect(withFiles(profile, script).nodes.map(({ callFrame }) => callFrame)).toEqual([
    { functionName: "take", url: "/src/http2/output.ts" },
    { functionName: "other", url: "/node_modules/x/dist/index.js" },
    { functionName: "send", url: "" },
    { functionName: "first", url: "/" },
  ]);
});

describe("the load", () => {
  const job: LoadJob = {
    kind: "load",
    peer: "hawser",
    url: "",
    workload: "echo",
    size: 15,
    warmMs: 5,
    measureMs: 20,
  };

  test("counts what is done between the start and the end that it tells, and closes the connection", async () => {
    const told: string[] = [];
    const counts: number[] = [];
    let gauge = new Gauge();
    const loops = {
      async echo(_size: number, given: Gauge) {
        gauge = given;
        while (gauge.running) {
          gauge.messages++;
          await new Promise((resolve) => setTimeout(resolve));
        }
        gauge.messages += 1000;
      },
      close: () => void told.push("closed"),
    };
    const { messages, ms } = await load(job, loops, (event) => {
      told.push(event);
      counts.push(gauge.messages);
    });
    expect(told).toEqual(["start", "end", "closed"]);
    expect(messages).toBe((counts[1] as number) - (counts[0] as number));
    expect(messages).toBeLessThan(1000);
    expect(ms).toBeGreaterThan(19);
  });

  test("fails at once if the loop fails, and if the peer has no such loop", async () => {
    const loops = { echo: () => Promise.reject(new Error("a reply is too short")), close() {} };
    await expect(load(job, loops, () => {})).rejects.toThrow("a reply is too short");
    const failed = load({ ...job, workload: "push" }, loops, () => {});
    await expect(failed).rejects.toThrow("hawser has no push");
  });
});

test("a silent link delivers nothing on open connections and passes new ones; a cut ends all", async () => {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.pipe(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await using link = await openLossyLink({ host: "127.0.0.1", port });
  const open = () => connect(Number(new URL(link.url).port), "127.0.0.1");
  const echoOf = async (socket: Socket, text: string) => {
    socket.write(text);
    return String((await once(socket, "data"))[0]);
  };
  const first = open();
  expect(await echoOf(first, "a")).toBe("a");
  link.silence();
  const heard: unknown[] = [];
  first.on("data", (bytes) => heard.push(bytes)).on("close", () => heard.push("close"));
  first.write("lost");
  const second = open();
  expect(await echoOf(second, "b")).toBe("b");
  expect(heard).toEqual([]);
  const closed = Promise.all([once(first, "close"), once(second, "close")]);
  link.cut();
  await closed;
  expect(heard).toEqual(["close"]);
  server.close();
});

describe("what it writes", () => {
  const method = {
    ...{ rounds: ROUNDS, warmMs: 250, measureMs: 800 },
    ...{ browser: "Chromium 1.2.3", load: [0.5, 2.25] as const },
  };
  const profiled: ProfiledSide = {
    ...{ row: trip, peer: "hawser", side: "page", cpu: 2 },
    divided: { totalUs: 10, shares: new Map(), functions: [{ name: "send", share: 0.25 }] },
  };

  test("the report has a figure for each peer of each row, and for each limit", () => {
    const text = report(findings(), [profiled], method);
    for (const row of rows) {
      const [, section = ""] = text.split(`## ${nameOf(row)}\n`);
      const lines = section
        .split("\n## ")[0]
        ?.split("\n")
        .filter((line) => line.startsWith("| "));
      // The head and the rule beneath it come first.
      expect(lines?.slice(2).map((line) => line.split(" | ")[0]?.slice(2))).toEqual(peersOf(row));
    }
    expect(text).toContain("| hawser | 20,000 |");
    expect(text).toContain("Load average 0.5 before the run, 2.3 after it");
    expect(text).toContain("| silent link | 2010 | 2010 | 500 | 0 | 0 |");
    expect(text).toContain("one at a time 15 B, hawser, page, 2 µs: `send` 0.50.");
    expect(text).toContain("All are met.");
    for (const { name } of checkAll(findings())) expect(text).toContain(`| ${name} |`);
    expect(text).not.toMatch(/NaN|undefined|Infinity|\[object/);
  });

  test("the report says how many limits are missed, and which", () => {
    const found = findings((at) => (isEcho(at, "socket.io") ? { messages: 2000 } : {}));
    const text = report(found, [], method);
    expect(text).toMatch(/Missed: 2 of \d+\./);
    expect(text).toContain("those of socket.io | at least 20 | 10 | **missed** |");
  });

  test("the chart has each peer in each row, and the line of the frames in the row that has them", () => {
    const drawn = chart(findings());
    for (const name of ["hawser", "JSON messages", "socket.io", "JSON arrays", "hawser, Node"]) {
      expect(drawn.split(`>${name}</text>`)).toHaveLength(rows.length + 1);
    }
    expect(drawn.split('class="reference"')).toHaveLength(2);
    expect(drawn).not.toMatch(/NaN|undefined|Infinity/);
  });
});
