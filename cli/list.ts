import type { DescMethod } from "@bufbuild/protobuf";
import { connected } from "../examples/terminal/call.ts";
import { command, usageError } from "../examples/terminal/command.ts";
import { oneLine } from "../examples/terminal/one-line.ts";
import { printLine } from "../examples/terminal/output.ts";
import { optionalArgument } from "../examples/terminal/parameter.ts";
import { readUrls } from "../examples/terminal/values.ts";
import { type Contract, nameOf } from "./contract.ts";
import { hasCursor } from "./cursor.ts";
import { callOptions } from "./options.ts";
import { readProtoDirectory } from "./proto-directory.ts";
import { ReflectedContract } from "./reflection.ts";

/** The services by which a server describes itself: who lists methods looks for others. */
const REFLECTION = /^grpc\.reflection\./;

export const list = command({
  program: "hawser",
  usage: "npx hawser list",
  about: "Lists the methods of a server by its reflection, or those of .proto files.",
  arguments: {
    url: optionalArgument("[url]", "the server: http://, https:// or unix:", { read: readUrls }),
  },
  options: callOptions,
  more: `
Each line is a method, as hawser call takes it, with its request and response.

Examples:
  $ npx hawser list http://127.0.0.1:50051
  $ npx hawser list --proto .
  $ npx hawser list https://example.com:443 --json | jq -r .method`,
  async run({ url, proto, ...connection }) {
    const { json } = connection;
    if ((url === undefined) === (proto === undefined)) {
      throw usageError("give the URL of a server, or a directory with --proto");
    }
    if (proto !== undefined) return await print(await readProtoDirectory(proto), json);
    await connected(
      { url: url ?? [], ...connection },
      { service: "server reflection" },
      async ({ transport, options }) => {
        await using contract = await ReflectedContract.open(transport, options);
        await print(contract, json);
      },
    );
  },
});

async function print(contract: Contract, json: boolean): Promise<void> {
  const methods: DescMethod[] = [];
  for (const name of await contract.serviceNames()) {
    if (REFLECTION.test(name)) continue;
    methods.push(...((await contract.describe(name))?.service.methods ?? []));
  }
  const width = Math.max(...methods.map((method) => nameOf(method).length));
  for (const method of methods) {
    await printLine(json ? asJson(method) : `${nameOf(method).padEnd(width)}  ${inWords(method)}`);
  }
}

/** Returns what a method takes and gives: `stream example.MessageRequest → stream example.MessageResponse`. */
function inWords(method: DescMethod): string {
  const { methodKind, input, output } = method;
  const takes = /^(client|bidi)_/.test(methodKind) ? "stream " : "";
  const gives = /^(server|bidi)_/.test(methodKind) ? "stream " : "";
  const more = hasCursor(method) ? ", continues after a cursor" : "";
  return oneLine(`${takes}${input.typeName} → ${gives}${output.typeName}${more}`);
}

function asJson(method: DescMethod): string {
  const { methodKind: kind, input, output } = method;
  const resumes = hasCursor(method);
  return oneLine(
    JSON.stringify({
      method: nameOf(method),
      kind,
      input: input.typeName,
      output: output.typeName,
      resumes,
    }),
  );
}
