import { type Connected, connected } from "../examples/terminal/call.ts";
import { command } from "../examples/terminal/command.ts";
import { argument, option, restArguments } from "../examples/terminal/parameter.ts";
import { readUrls } from "../examples/terminal/values.ts";
import { findMethod, type MethodName, type Target } from "./contract.ts";
import { makeCall } from "./make-call.ts";
import { callOptions, readMethodName } from "./options.ts";
import { readProtoDirectory } from "./proto-directory.ts";
import { ReflectedContract } from "./reflection.ts";

export const call = command({
  program: "hawser",
  usage: "npx hawser call",
  about: "Calls a method of any kind: each request and each response is a line of JSON.",
  arguments: {
    url: argument(
      "<url>",
      "the server: http://, https:// or unix:; several, separated by commas",
      readUrls,
    ),
    method: argument("<method>", "its name, such as example.Greeter/Chat", readMethodName),
    requests: restArguments(
      "[request...]",
      "the requests; -: each line of stdin is one; none: the same if the method takes a stream, else {}",
    ),
  },
  options: {
    ...callOptions,
    after: option("<cursor>", "begin after this cursor, if the method declares that it can"),
  },
  more: `
On a terminal, type the requests of a stream: Ctrl-D half-closes the call,
Ctrl-C cancels it. When the connection is lost, the call continues over another,
with its session or after its cursor, and stderr has "reconnecting…" and
"resumed": no response is lost or printed twice.

Examples:
  $ npx hawser call http://127.0.0.1:50051 example.Greeter/Chat
  $ npx hawser call http://127.0.0.1:50051 example.Greeter/SayHello '{"content":"Ada"}'
  $ npx hawser call http://127.0.0.1:50051 chat.v1.RoomService/Watch '{"room":"lobby"}' \\
      --proto . --after "$(cat cursor)"
  $ jq -c '.[]' requests.json | npx hawser call https://example.com:443 \\
      example.Greeter/Collect - --timeout 5s

For other protocols, headers and schemas use grpcurl or buf curl.`,
  run: ({ url, method: name, requests: typed, proto, after, ...connection }) =>
    connected({ url, ...connection }, { service: name.service }, async (made) => {
      const target = await find(name, proto, made);
      await makeCall({ ...made, ...target, typed, after, json: connection.json });
    }),
});

/** Finds a method by the .proto files in a directory, or by the server's reflection. */
async function find(
  name: MethodName,
  proto: string | undefined,
  { transport, options }: Connected,
): Promise<Target> {
  if (proto !== undefined) return findMethod(await readProtoDirectory(proto), name);
  await using contract = await ReflectedContract.open(transport, options);
  return await findMethod(contract, name);
}
