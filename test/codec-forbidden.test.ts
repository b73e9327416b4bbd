/** Programs that must not generate code from strings, as in Workers and under a strict Content-Security-Policy. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, test } from "vitest";

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
