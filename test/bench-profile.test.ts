/** How `npm run bench -- --profile` divides a CPU profile. */
import { describe, expect, test } from "vitest";
import { roles } from "../bench/plan.ts";
import type { Profiled } from "../bench/profile.ts";
import { chart, page } from "../bench/profile-page.ts";
import { type CpuProfile, divide, PARTS, type Part } from "../bench/profile-parts.ts";

/** A stack of functions, "name at URL" each, or only a name, from the outermost; and the time that its last one took itself, in µs. */
type Stack = readonly [took: number, ...functions: string[]];

/** Makes a profile whose samples are of these stacks, one after the other from `startTime` on. */
function profileOf(stacks: readonly Stack[], startTime = 0): CpuProfile {
  const nodes: { id: number; callFrame: CallFrame; children: number[] }[] = [];
  const node = (of: string) => {
    const [functionName = "", url = ""] = of.split(" at ");
    nodes.push({ id: nodes.length + 1, callFrame: { functionName, url }, children: [] });
    return nodes.length;
  };
  const root = node("(root)");
  const samples = stacks.map(([, ...functions]) =>
    functions.reduce((parent, of) => {
      const id = node(of);
      nodes[parent - 1]?.children.push(id);
      return id;
    }, root),
  );
  return { nodes, samples, timeDeltas: stacks.map(([took]) => took), startTime };
}

interface CallFrame {
  functionName: string;
  url: string;
}

const ALL = { fromUs: 0, untilUs: Number.POSITIVE_INFINITY };

/** Returns the part that takes all of a profile with one stack. */
function partOf(...functions: string[]): Part | undefined {
  const { shares } = divide(profileOf([[1, ...functions]]), ALL);
  return [...shares].find(([, share]) => share === 1)?.[0];
}

const src = (file: string) => `file:///somewhere/src/${file}.ts`;

describe("a profile is divided", () => {
  test.each<[string, Part]>([
    [src("http2/output"), "engine"],
    [src("connection/message-stream"), "engine"],
    [src("grpc/framing"), "framing"],
    [src("grpc/message"), "framing"],
    [src("grpc/server-call"), "call layer, handler"],
    [src("flow/pump"), "call layer, handler"],
    [src("node/calls"), "call layer, handler"],
    [src("node/socket-pipe"), "Node's streams"],
    [src("session/spool"), "sessions"],
    [src("codec/encode"), "protobuf"],
    ["file:///x/node_modules/@bufbuild/protobuf/dist/esm/create.js", "protobuf"],
    [
      "file:///x/node_modules/@connectrpc/connect/dist/esm/context-values.js",
      "call layer, handler",
    ],
    ["file:///x/bench/servers/handlers.ts", "call layer, handler"],
    ["node:net", "Node's streams"],
  ])("%s is in %s", (url, part) => {
    expect(partOf(`work at ${url}`)).toBe(part);
  });

  test("native functions, and Node's for text and buffers, are in the part of their caller", () => {
    const encode = `encode at ${src("codec/encode")}`;
    expect(partOf(encode, "encodeInto at node:internal/encoding", "encodeInto")).toBe("protobuf");
    // A function that was made at run time has no file.
    expect(partOf(encode, "compiled")).toBe("protobuf");
    expect(partOf(`take at ${src("http2/output")}`, "allocUnsafe at node:buffer")).toBe("engine");
  });

  test("writes to sockets, promises and garbage have parts of their own, whatever their caller", () => {
    const write = `write at ${src("node/socket-pipe")}`;
    expect(partOf(write, "writeBuffer")).toBe("socket write");
    expect(partOf(write, "writev")).toBe("socket write");
    expect(partOf("runMicrotasks")).toBe("promises");
    expect(partOf(write, "(garbage collector)")).toBe("garbage collection");
    expect(partOf("(program)")).toBe("other native code");
  });

  test("the shares are of the time that is not idle, and add up to 1", () => {
    const { shares, functions } = divide(
      profileOf([
        [30, `take at ${src("http2/output")}`],
        [1000, "(idle)"],
        [10, `encode at ${src("codec/encode")}`],
      ]),
      ALL,
    );
    expect(shares.get("engine")).toBe(0.75);
    expect(shares.get("protobuf")).toBe(0.25);
    expect([...shares.keys()]).toEqual(Object.keys(PARTS));
    expect([...shares.values()].reduce((sum, share) => sum + share)).toBe(1);
    expect(functions).toEqual([
      { name: "take in src/http2/output.ts", share: 0.75 },
      { name: "encode in src/codec/encode.ts", share: 0.25 },
    ]);
  });

  test("only the samples of the measured period count", () => {
    const stacks: Stack[] = [
      [100, `start at ${src("node/calls")}`],
      [100, `take at ${src("http2/output")}`],
      [100, `stop at ${src("node/calls")}`],
    ];
    const { shares } = divide(profileOf(stacks, 5000), { fromUs: 5150, untilUs: 5250 });
    expect(shares.get("engine")).toBe(1);
  });
});

describe("the page about where the time goes", () => {
  const divided = divide(
    profileOf([
      [30, `take at ${src("http2/output")}`],
      [70, `encode at ${src("codec/encode")}`],
    ]),
    ALL,
  );
  const cell = { workload: "unary", streams: 100, size: 15 } as const;
  const rows: Profiled[] = roles.map((role) => ({ role, cell, cpu: 12.34, divided }));

  test("has the share of each part for each row, its CPU, and its functions", () => {
    const text = page(rows, { date: "2026-01-31", machine: "2 cores", measureMs: 4000 });
    const lines = text.split("\n").filter((line) => line.startsWith("| unary 100 × 15 B |"));
    expect(lines).toHaveLength(roles.length);
    expect(lines[0]).toMatch(/\| 70 % \| 0 % \| 30 % \|.* 12\.3 \|$/);
    expect(text).toContain(
      "`encode in src/codec/encode.ts` 70 %, `take in src/http2/output.ts` 30 %.",
    );
    for (const part of Object.keys(PARTS)) expect(text).toContain(`\n- ${part}: `);
  });

  test("has a chart that names each part, and draws their shares", () => {
    const svg = chart(rows);
    expect(svg).not.toMatch(/NaN|undefined|Infinity/);
    for (const part of Object.keys(PARTS)) expect(svg).toContain(`>${part}<`);
    expect(svg.match(/>70 %</g)).toHaveLength(roles.length);
  });
});
