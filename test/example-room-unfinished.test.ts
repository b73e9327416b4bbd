import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import type { RoomService } from "../gen/chat/v1/room_pb.js";
import { Code, ConnectError, type ServiceImpl } from "../src/server.ts";
import { aborted, gate } from "./support/gate.ts";
import { example, type Program } from "./support/program.ts";
import { serveRooms } from "./support/room-server.ts";

// Each test starts programs, and a busy machine takes its time for that.
vi.setConfig({ testTimeout: 60_000 });

type Service = ServiceImpl<typeof RoomService>;

/** Stores a text, and fails in the place of the response. */
const losesTheAnswerTo =
  (text: string) =>
  (rooms: Service): Partial<Service> => ({
    async post(request, context) {
      const response = await rooms.post(request, context);
      if (request.text === text) throw new ConnectError("going away", Code.Unavailable);
      return response;
    },
  });

/** The advice of a program: the line to continue with, and the options. */
function advised({ stderr }: Program) {
  const [, line] = stderr.match(/continue with line (\d+)/) ?? [];
  const [, producer] = stderr.match(/--producer ([\da-f-]{36})/) ?? [];
  const [, sequence] = stderr.match(/--sequence (\d+)/) ?? [];
  return { line: Number(line), producer: producer as string, sequence: sequence as string };
}

test("a post of many lines that fails says where to continue, and a post from there stores no line twice", async () => {
  const lines = ["one", "two", "", "three", "four"];
  await using first = await serveRooms({ change: losesTheAnswerTo("three") });
  await using post = example("room", "post", "lobby", "--url", first.url, "--name", "ada");
  post.stdin.end(lines.join("\n"));
  expect(await post.ended).toBe(1);
  expect(post.stdout).toBe("");
  expect(post.stderr).toMatch(/^room: unavailable: going away: .*; posted 2 messages; .*\n$/);
  const { line, producer, sequence } = advised(post);
  expect([line, sequence]).toEqual([4, "3"]);

  await using second = await serveRooms({ log: first.log });
  const continuing = ["--producer", producer, "--sequence", sequence];
  const url = ["--url", second.url, "--name", "ada"];
  await using rest = example("room", "post", "lobby", ...url, ...continuing);
  rest.stdin.end(lines.slice(line - 1).join("\n"));
  expect(await rest.ended).toBe(0);
  expect(rest.stdout).toBe("posted 2 messages, 1 was there before\n");
  expect(await second.said("lobby")).toEqual(["ada: one", "ada: two", "ada: three", "ada: four"]);
});

test("a post whose answer was lost says how to repeat it", async () => {
  await using server = await serveRooms({ change: losesTheAnswerTo("hello") });
  const posting = ["post", "lobby", "hello", "--url", server.url, "--name", "ada"];
  await using post = example("room", ...posting, "--json");
  expect(await post.ended).toBe(1);
  expect(JSON.parse(post.stderr)).toMatchObject({
    code: "unavailable",
    remedy: expect.stringMatching(/post it again with --producer \S+ --sequence 1, /),
  });
});

test.each([
  ["refuses", Code.InvalidArgument],
  ["has no capacity for", Code.ResourceExhausted],
])("a post that the server %s is not said to be stored", async (_what, code) => {
  await using server = await serveRooms({
    change: () => ({
      post() {
        throw new ConnectError("no", code);
      },
    }),
  });
  await using post = example("room", "post", "lobby", "hello", "--url", server.url);
  expect(await post.ended).toBe(1);
  expect(post.stderr).toMatch(/: no\n$/);
});

test("a post that no server takes is not said to be stored", async () => {
  await using post = example("room", "post", "lobby", "hello", "--url", "http://127.0.0.1:1");
  expect(await post.ended).toBe(1);
  expect(post.stderr).toMatch(/Start one with "npm start"\n$/);
});

test("a line that cannot be a message is reported with its number, and with where to continue", async () => {
  await using server = await serveRooms();
  await using post = example("room", "post", "lobby", "--url", server.url, "--name", "ada");
  post.stdin.end(`one\n\n${"x".repeat(4097)}\nthree\n`);
  expect(await post.ended).toBe(1);
  expect(post.stderr).toMatch(
    /^room: invalid_argument: line 3 of standard input: a message has 4096 .* posted 1 message; /,
  );
  expect(advised(post)).toMatchObject({ line: 2, sequence: "2" });
  expect(await server.said("lobby")).toEqual(["ada: one"]);
});

test("Ctrl-C in a post of many lines says where to continue", async () => {
  await using server = await serveRooms();
  await using post = example("room", "post", "lobby", "--url", server.url, "--json");
  post.stdin.write("one\ntwo\n");
  await post.prints(/(?:.*\n){2}/);
  post.kill("SIGINT");
  expect(await post.ended).toBe(130);
  expect(JSON.parse(post.stderr)).toMatchObject({ code: "canceled", message: "interrupted" });
  expect(advised(post)).toMatchObject({ line: 3, sequence: "3" });
});

test("Ctrl-C in an import that has sent nothing prints no remedy", async () => {
  const begun = gate();
  await using server = await serveRooms({
    change: () => ({
      async import(_requests, { signal }) {
        begun.open();
        await aborted(signal);
        return {};
      },
    }),
  });
  await using program = example("room", "import", "lobby", "-", "--url", server.url);
  await begun.opened;
  program.kill("SIGINT");
  expect(await program.ended).toBe(130);
  expect(program.stderr).toBe("");
});

test("a post of many lines whose output is no longer read says where to continue", async () => {
  await using server = await serveRooms();
  await using post = example("room", "post", "lobby", "--url", server.url, "--json");
  post.stdin.write("one\n");
  await post.prints(/\n/);
  post.closeStdout();
  post.stdin.end("two\nthree\n");
  expect(await post.ended).toBe(1);
  expect(advised(post)).toMatchObject({ line: 3, sequence: "3" });
  expect(await server.said("lobby")).toHaveLength(2);
});

test("Ctrl-C in an import says how to import the rest, and that import stores no line twice", async () => {
  await using server = await serveRooms();
  const importing = ["import", "lobby", "-", "--url", server.url, "--name", "ada"];
  await using first = example("room", ...importing);
  first.stdin.write("one\ntwo\n");
  await server.holds("lobby", 2);
  first.kill("SIGINT");
  expect(await first.ended).toBe(130);
  expect(first.stderr).toMatch(/^room: canceled: interrupted: .* with --producer \S+, .*\n$/);
  await using second = example("room", ...importing, "--producer", advised(first).producer);
  second.stdin.end("one\ntwo\nthree\n");
  expect(await second.ended).toBe(0);
  expect(second.stdout).toContain("imported 3 messages");
  expect(await server.said("lobby")).toEqual(["ada: one", "ada: two", "ada: three"]);
});

test("an import that stops at a line says that the lines before it may be stored", async () => {
  await using server = await serveRooms();
  const folder = await mkdtemp(join(tmpdir(), "hawser-"));
  try {
    const file = join(folder, "text.txt");
    await writeFile(file, `one\n${"x".repeat(4097)}\n`);
    await using program = example("room", "import", "lobby", file, "--url", server.url);
    expect(await program.ended).toBe(1);
    expect(program.stderr).toMatch(
      /^room: invalid_argument: line 2 of \S+text\.txt: .* with --producer [\da-f-]{36}, .*\n$/,
    );
  } finally {
    await rm(folder, { recursive: true });
  }
});
