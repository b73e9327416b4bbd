/** Programs that must not generate code from strings, as in Workers and under a strict Content-Security-Policy. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { create, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { FieldDescriptorProto_Type as Type } from "@bufbuild/protobuf/wkt";
import { afterEach, expect, test, vi } from "vitest";
import { NO_GROUP } from "../src/codec/compiler.ts";
import { inputOf } from "../src/codec/decode.ts";
import type { Fields } from "../src/codec/decoder.ts";
import { makeTypes, textType } from "./support/made-types.ts";

/** A busy machine takes several times as long to start a program. */
vi.setConfig({ testTimeout: 60_000 });

const ROOT = new URL("../", import.meta.url).href;

/** Runs a program with these flags of Node; resolves with what it prints. */
async function outputOf(flags: readonly string[], program: string): Promise<string> {
  const child = spawn(process.execPath, [...flags, "--input-type=module", "--eval", program], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let printed = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      printed += text;
    });
  }
  await once(child, "close");
  return printed;
}

/** Makes more calls than a type is used before it is compiled. */
const CALLS = `
  import { Greeter, MessageRequestSchema } from "${ROOT}gen/example/greeter_pb.js";
  import { createClient, createTransport } from "${ROOT}src/index.ts";
  import { createServer } from "${ROOT}src/server.ts";
  import { compiledCodecs } from "${ROOT}src/codec/compiled/compiled-codecs.ts";
  const server = createServer({
    routes: (router) => router.service(Greeter, {
      sayHello: ({ content }) => ({ reply: content }),
    }),
  });
  const { url } = await server.listen({ host: "127.0.0.1", port: 0 });
  const transport = createTransport({ baseUrl: url });
  const greeter = createClient(Greeter, transport);
  let last;
  for (let i = 0; i < 500; i++) last = await greeter.sayHello({ content: "number " + i });
  const kind = compiledCodecs.encoderOf(MessageRequestSchema) === undefined ? "closures" : "compiled";
  console.log(last.reply, kind);
  process.exit(0);
`;

test("calls work where Node must not generate code from strings", async () => {
  const flags = ["--disallow-code-generation-from-strings"];
  expect(await outputOf(flags, CALLS)).toBe("number 499 closures\n");
});

test("the codec is compiled where it may be", async () => {
  expect(await outputOf([], CALLS)).toBe("number 499 compiled\n");
});

afterEach(() => vi.unstubAllGlobals());

type Init = MessageInitShape<DescMessage>;

/** A type, and the type of a message within it. */
function aroundType() {
  const typeOf = makeTypes({
    Around: [{ name: "within", number: 1, type: Type.MESSAGE, typeName: ".n.Within" }],
    Within: [{ name: "text", number: 1, type: Type.STRING }],
  });
  return { Around: typeOf("Around"), Within: typeOf("Within") };
}

/** The compiler as a module that was not used yet. */
async function newCompiler() {
  vi.resetModules();
  const { compiledCodecs } = await import("../src/codec/compiled/compiled-codecs.ts");
  return compiledCodecs;
}

test("types whose messages come first when code must not be generated any more are encoded and decoded by closures", async () => {
  const { encoderOf, decoderOf } = await newCompiler();
  const { Around, Within } = aroundType();
  const encode = encoderOf(Around);
  const decoder = decoderOf(Around);
  vi.stubGlobal("Function", function Refused() {
    throw new EvalError("Code generation from strings disallowed for this context");
  });
  for (let use = 0; use < 3; use++) {
    const bytes = encode?.({ within: { text: "a text" } }, undefined) as Uint8Array;
    expect(Buffer.from(bytes).toString("latin1")).toBe("\n\x08\n\x06a text");
    const message = decoder?.create() as Fields;
    decoder?.read(inputOf({ bytes, start: 0, end: bytes.length }, {}), message, NO_GROUP);
    expect(message.within).toStrictEqual(create(Within, { text: "a text" } as Init));
  }
  expect(encoderOf(textType())).toBeUndefined();
  vi.unstubAllGlobals();
  // It is not tried for each type.
  expect(encoderOf(textType())).toBeUndefined();
});
