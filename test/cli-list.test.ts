/** `hawser list`, and where both commands have their contracts from. */
import { writeFile } from "node:fs/promises";
import { expect, test, vi } from "vitest";
import { result, startCliWorld } from "./support/cli-world.ts";
import { example } from "./support/program.ts";
import { temporaryFile } from "./support/temporary.ts";

// Each test starts programs, and a busy machine takes its time for that.
vi.setConfig({ testTimeout: 60_000 });

const GREETER = [
  "example.Greeter/SayHello  example.MessageRequest → example.MessageResponse",
  "example.Greeter/Chat  stream example.MessageRequest → stream example.MessageResponse",
  "example.Greeter/Collect  stream example.MessageRequest → example.CollectResponse",
  "example.Greeter/Subscribe  example.SubscribeRequest → stream example.Notification",
];
const WATCH =
  "chat.v1.RoomService/Watch  chat.v1.WatchRequest → stream chat.v1.WatchResponse, continues after a cursor";

/** The lines without the spaces that align them. */
const linesOf = (stdout: string) =>
  stdout
    .trim()
    .split("\n")
    .map((line) => line.replace(/ {2,}/, "  "));

test("the methods of a server are listed by its reflection, without those of the reflection itself", async () => {
  await using world = await startCliWorld();
  const { code, stdout, stderr } = await result(example("hawser", "list", world.url));
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const lines = linesOf(stdout);
  expect(lines).toEqual(expect.arrayContaining([...GREETER, WATCH]));
  expect(stdout).not.toContain("grpc.reflection");
  const json = await result(example("hawser", "list", world.url, "--json"));
  const listed = json.stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(listed).toHaveLength(lines.length);
  expect(listed).toContainEqual({
    method: "chat.v1.RoomService/Watch",
    kind: "server_streaming",
    input: "chat.v1.WatchRequest",
    output: "chat.v1.WatchResponse",
    resumes: true,
  });
});

test("the methods of .proto files are listed without a server", async () => {
  const { code, stdout } = await result(example("hawser", "list", "--proto", "."));
  expect(code).toBe(0);
  expect(linesOf(stdout)).toEqual(expect.arrayContaining([...GREETER, WATCH]));
});

test("either a server or a directory is listed, exit code 2 for neither and for both", async () => {
  for (const words of [[], ["http://127.0.0.1:1", "--proto", "."]]) {
    expect(await result(example("hawser", "list", ...words))).toEqual({
      code: 2,
      stdout: "",
      stderr: "hawser: invalid_argument: give the URL of a server, or a directory with --proto\n",
    });
  }
});

test("what buf says of .proto files that it cannot compile is one line", async () => {
  await using broken = await temporaryFile("broken.proto");
  await writeFile(broken.path, 'syntax = "proto3";\nmessage A { string a = 1; string b = 1; }\n');
  const { code, stdout, stderr } = await result(
    example("hawser", "list", "--proto", broken.folder),
  );
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toMatch(/^hawser: invalid_argument: buf cannot compile .*broken\.proto:2:.*\n$/);
});
