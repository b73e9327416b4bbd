/** Divides a CPU profile of Node by the part of the program that each sample was in. */

/** The part of a .cpuprofile that is read. */
export interface CpuProfile {
  readonly nodes: readonly ProfileNode[];
  /** The node of each sample. */
  readonly samples: readonly number[];
  /** The time before each sample, in µs. */
  readonly timeDeltas: readonly number[];
  /** In µs, on the clock of process.hrtime(). */
  readonly startTime: number;
}

interface ProfileNode {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string };
  readonly children?: readonly number[];
}

/** The parts, in the order of the table, and what is in each. */
export const PARTS = {
  "socket write": "the system calls that write to sockets",
  "call layer, handler":
    "`src/grpc/`, `src/client/`, `src/server/`, `src/flow/`: one call with its headers, queues and deadline; and the code of the benchmark, which is the application",
  promises: "V8's queue of microtasks",
  protobuf: "`src/codec/` and @bufbuild/protobuf: messages to bytes and back",
  "garbage collection": "on the thread of JavaScript",
  engine: "`src/http2/` and `src/connection/`: HTTP/2, windows, connections",
  framing: "`src/grpc/framing.ts` and `src/grpc/message.ts`: the prefixes of gRPC messages",
  sessions: "`src/session/`",
  "Node's streams":
    "Node's own JavaScript (sockets, streams, timers), and `src/node/`, which uses it",
  "other native code": "reads from sockets, the event loop, compilation",
} as const;

export type Part = keyof typeof PARTS;

const SOCKET_WRITES = /^write(v|Buffer|Utf8String|Latin1String|AsciiString|Ucs2String)$/;
const PROMISES = /^(runMicrotasks|processTicksAndRejections)$/;

/** Files of Node whose functions are in the part of their caller: text to bytes and back, memory of buffers. */
const OF_CALLER = /^node:(buffer|internal\/(buffer|encoding))$/;

/** The parts of files; the first that matches is the file's. */
const files: readonly (readonly [RegExp, Part])[] = [
  [/\/src\/(grpc\/(framing|message)|flow\/length-prefix)\.ts$/, "framing"],
  [/\/src\/(codec|gen)\/|\/@bufbuild\/protobuf\//, "protobuf"],
  [/\/src\/(http2|connection)\//, "engine"],
  [/\/src\/session\//, "sessions"],
  [/\/src\/node\/calls\.ts$/, "call layer, handler"],
  [/\/src\/node\/|^node:/, "Node's streams"],
  [/./, "call layer, handler"],
];

/** What a profile says of a period. */
export interface Divided {
  /** The time of the samples, in µs. */
  readonly totalUs: number;
  /** The share of each part; the sum is 1. */
  readonly shares: ReadonlyMap<Part, number>;
  /** The functions that take most themselves, with their shares. */
  readonly functions: readonly { readonly name: string; readonly share: number }[];
}

/** Divides the samples between two times, in µs on the clock of process.hrtime(). Samples of an idle process are left out. */
export function divide(
  { nodes, samples, timeDeltas, startTime }: CpuProfile,
  { fromUs, untilUs }: { fromUs: number; untilUs: number },
): Divided {
  const partOf = partsOf(nodes);
  const nameOf = new Map(nodes.map((node) => [node.id, functionName(node)]));
  const times = new Map<Part, number>();
  const functions = new Map<string, number>();
  let total = 0;
  let at = startTime;
  samples.forEach((id, n) => {
    const took = timeDeltas[n] as number;
    at += took;
    const part = partOf.get(id);
    if (part === undefined || at < fromUs || at > untilUs) return;
    const name = nameOf.get(id) as string;
    times.set(part, (times.get(part) ?? 0) + took);
    functions.set(name, (functions.get(name) ?? 0) + took);
    total += took;
  });
  const parts = Object.keys(PARTS) as Part[];
  return {
    totalUs: total,
    shares: new Map(parts.map((part) => [part, (times.get(part) ?? 0) / total])),
    functions: [...functions]
      .map(([name, time]) => ({ name, share: time / total }))
      .sort((a, b) => b.share - a.share),
  };
}

/**
 * Returns the part of each node, without those of an idle process. A native function, and one of OF_CALLER, is in the part
 * of its caller: the bytes of a text are protobuf's if protobuf asks for them.
 */
function partsOf(nodes: readonly ProfileNode[]): Map<number, Part> {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const parents = new Map<number, number>();
  for (const { id, children = [] } of nodes) for (const child of children) parents.set(child, id);
  const parts = new Map<number, Part>();
  const partOf = (node: ProfileNode): Part => {
    const { functionName, url } = node.callFrame;
    if (functionName === "(garbage collector)") return "garbage collection";
    if (url === "" && SOCKET_WRITES.test(functionName)) return "socket write";
    if (PROMISES.test(functionName)) return "promises";
    if (url !== "" && !OF_CALLER.test(url)) return fileOf(url);
    const parent = byId.get(parents.get(node.id) ?? Number.NaN);
    return parent === undefined ? "other native code" : partOf(parent);
  };
  for (const node of nodes) {
    if (node.callFrame.functionName !== "(idle)") parts.set(node.id, partOf(node));
  }
  return parts;
}

function fileOf(url: string): Part {
  return (files.find(([pattern]) => pattern.test(url)) as (typeof files)[number])[1];
}

/** Returns the name of a function with its file. */
function functionName({ callFrame }: ProfileNode): string {
  const { functionName, url } = callFrame;
  const name = functionName === "" ? "(anonymous)" : functionName;
  const file = /(?:\/(?=src\/|bench\/)|\/node_modules\/|^(?=node:))(.*)$/.exec(url)?.[1];
  return file === undefined ? name : `${name} in ${file}`;
}
