/**
 * Compares the compiled codec with the closures, which work where no code may be generated, and with protobufjs, which
 * generates code. One process, one thread; in each round all of them encode, or decode, the same messages.
 */
import {
  create,
  createFileRegistry,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import protobufjs from "protobufjs";
import "../src/node/runtime.ts";
import { encodeByClosures } from "../src/codec/closure-encoder.ts";
import { giveBackEncoded } from "../src/codec/compiler.ts";
import { decodeByClosures, messageDecoder } from "../src/codec/decode.ts";
import { messageEncoder } from "../src/codec/encode.ts";
import { median } from "./measure.ts";

const ROUNDS = 31;
const MESSAGES = 64;
/** How many times a round encodes, or decodes, all messages: some milliseconds. */
const REPEATS = 200;

type Codec = "compiled" | "closures" | "protobufjs";
type Task = "encode" | "decode";

/** The lowest speed of the compiled codec divided by that of another one. */
type Minimums = { readonly [Other in Exclude<Codec, "compiled">]: number };

interface Row {
  readonly title: string;
  readonly desc: DescMessage;
  readonly other: protobufjs.Type;
  /** The bytes of each message. */
  readonly size: number;
  readonly message: (at: number) => Record<string, unknown>;
  readonly minimums: Minimums;
}

const label = Label.OPTIONAL;
const registry = createFileRegistry(
  create(FileDescriptorSetSchema, {
    file: [
      create(FileDescriptorProtoSchema, {
        name: "bench.proto",
        package: "bench",
        syntax: "proto3",
        messageType: [
          {
            name: "Six",
            field: [
              { name: "name", number: 1, type: Type.STRING, label },
              { name: "text", number: 2, type: Type.STRING, label },
              { name: "count", number: 3, type: Type.INT32, label },
              { name: "id", number: 4, type: Type.UINT64, label },
              { name: "tags", number: 5, type: Type.STRING, label: Label.REPEATED },
              { name: "data", number: 6, type: Type.BYTES, label },
            ],
          },
          { name: "One", field: [{ name: "text", number: 1, type: Type.STRING, label }] },
        ],
      }),
    ],
  }),
);

const { root } = protobufjs.parse(`
  syntax = "proto3";
  package bench;
  message Six {
    string name = 1; string text = 2; int32 count = 3; uint64 id = 4; repeated string tags = 5; bytes data = 6;
  }
  message One { string text = 1; }
`);

const rows: readonly Row[] = [
  {
    title: "six fields, 79 B",
    desc: registry.getMessage("bench.Six") as DescMessage,
    other: root.lookupType("bench.Six"),
    size: 79,
    message: (at) => ({
      name: `Ada ${10 + at} Lovel`,
      text: `On my way home at ${10 + at}`,
      count: 300 + at,
      id: 12_345_678_901_234_567n + BigInt(at),
      tags: ["red", "green", "blue"],
      data: Uint8Array.from({ length: 11 }, (_, i) => i + at),
    }),
    minimums: { closures: 2.5, protobufjs: 1 },
  },
  {
    title: "a string of 15 B",
    desc: registry.getMessage("bench.One") as DescMessage,
    other: root.lookupType("bench.One"),
    size: 17,
    message: (at) => ({ text: `Hello, Ada! ${100 + at}` }),
    minimums: { closures: 1, protobufjs: 1 },
  },
];

export interface CodecResults {
  ok: boolean;
  /** Nanoseconds for a message, by row, task and codec. */
  ns: Record<string, Record<Codec, number>>;
  /** The speed of the compiled codec divided by that of the others. */
  ratios: Record<string, Record<Exclude<Codec, "compiled">, number>>;
  /** The ratios below their minimums, in words. */
  missed: string[];
}

/** Measures all rows. */
export function measureCodecs(): CodecResults {
  const results: CodecResults = { ok: true, ns: {}, ratios: {}, missed: [] };
  for (const row of rows) {
    const tasks = tasksOf(row);
    for (const task of ["encode", "decode"] as const) {
      measureRow(row, task, { runs: tasks[task], results });
    }
  }
  results.ok = results.missed.length === 0;
  return results;
}

/** Encodes or decodes a message. */
type Run = (at: number) => unknown;

function tasksOf({ desc, other, size, message }: Row): Record<Task, Record<Codec, Run>> {
  const inits = Array.from({ length: MESSAGES }, (_, at) => message(at));
  const ours = inits.map((init) => create(desc, init as MessageInitShape<DescMessage>));
  const theirs = inits.map((init) => other.fromObject({ ...init, id: longOf(init.id) }));
  type Message = (typeof ours)[number];
  const encoder = messageEncoder(desc);
  const decoder = messageDecoder(desc);
  const encode = (at: number) => encoder.encode(ours[at] as Message, undefined);
  const all = ours.map((one) => Buffer.from(toBinary(desc, one)));
  for (const [at, bytes] of all.entries()) {
    const encoded = other.encode(theirs[at] as protobufjs.Message).finish();
    const same = [encode(at), encoded];
    if (bytes.length !== size || same.some((one) => !bytes.equals(one))) {
      throw new Error(`the codecs differ: ${bytes.length} B, ${encoded.length} B by protobufjs`);
    }
    fromBinary(desc, bytes);
  }
  // As they are received: many in one buffer.
  const received = Buffer.concat([Buffer.alloc(64 * 1024), ...all]);
  const frames = all.map((_, at) => {
    const start = 64 * 1024 + at * size;
    return { bytes: received, start, end: start + size };
  });
  const parts = frames.map(({ bytes, start, end }) => bytes.subarray(start, end));
  return {
    encode: {
      // As in a call, which writes the message before the next one.
      compiled: (at) => giveBackEncoded(encode(at)),
      closures: (at) => encodeByClosures(desc, ours[at]),
      protobufjs: (at) => other.encode(theirs[at] as protobufjs.Message).finish(),
    },
    decode: {
      compiled: (at) => decoder.decode(frames[at] as (typeof frames)[number], undefined),
      closures: (at) => decodeByClosures(desc, frames[at] as (typeof frames)[number]),
      protobufjs: (at) => other.decode(parts[at] as Buffer),
    },
  };
}

function longOf(value: unknown): unknown {
  return typeof value === "bigint" ? String(value) : undefined;
}

/** Kept, so that no result is unused. */
let last: unknown;

function nsOf(run: Run): number {
  const from = process.hrtime.bigint();
  for (let repeat = 0; repeat < REPEATS; repeat++) {
    for (let at = 0; at < MESSAGES; at++) last = run(at);
  }
  return Number(process.hrtime.bigint() - from) / (REPEATS * MESSAGES);
}

const codecs: readonly Codec[] = ["compiled", "closures", "protobufjs"];

function measureRow(
  { title, minimums }: Row,
  task: Task,
  { runs, results }: { runs: Record<Codec, Run>; results: CodecResults },
): void {
  const rounds: Record<Codec, number>[] = [];
  for (let turn = -10; turn < ROUNDS; turn++) {
    const round: Record<Codec, number> = { compiled: 0, closures: 0, protobufjs: 0 };
    for (let i = 0; i < codecs.length; i++) {
      const codec = codecs[(i + turn + 12) % codecs.length] as Codec;
      round[codec] = nsOf(runs[codec]);
    }
    // The first ones warm up.
    if (turn >= 0) rounds.push(round);
  }
  const name = `${task} ${title}`;
  const ns = (codec: Codec) => Math.round(median(rounds.map((round) => round[codec])));
  results.ns[name] = {
    compiled: ns("compiled"),
    closures: ns("closures"),
    protobufjs: ns("protobufjs"),
  };
  const ratioTo = (codec: Codec) => median(rounds.map((round) => round[codec] / round.compiled));
  const ratios = { closures: ratioTo("closures"), protobufjs: ratioTo("protobufjs") };
  results.ratios[name] = ratios;
  for (const other of ["closures", "protobufjs"] as const) {
    const said = `${name}: ${ratios[other].toFixed(2)} × ${other}`;
    console.log(`${said}, minimum ${minimums[other]}`);
    if (ratios[other] < minimums[other]) results.missed.push(said);
  }
  void last;
}
