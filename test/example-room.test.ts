import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { RoomService } from "../gen/chat/v1/room_pb.js";
import { createClient, createTransport } from "../src/index.ts";
import { openLink } from "../src/testing/link.ts";
import { aborted, gate } from "./support/gate.ts";
import { example, startExampleServer } from "./support/program.ts";
import { serveRooms } from "./support/room-server.ts";

// Each test starts programs, and a busy machine takes its time for that.
vi.setConfig({ testTimeout: 60_000 });

/** A folder that is removed at the end of the test. */
async function tempFolder() {
  const path = await mkdtemp(join(tmpdir(), "hawser-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

async function fileWith(content: string) {
  const folder = await tempFolder();
  const path = join(folder.path, "text.txt");
  await writeFile(path, content);
  return { ...folder, path };
}

/** Reads the first `count` messages; the call continues, and the others stay unread. */
async function* firstOf<T>(values: AsyncIterable<T>, count: number): AsyncGenerator<T> {
  const iterator = values[Symbol.asyncIterator]();
  for (let i = 0; i < count; i++) yield (await iterator.next()).value;
}

const jsonLines = (text: string) =>
  text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));

test("join from a pipe posts each line, prints the events of the room, and ends when all is stored", async () => {
  await using server = await serveRooms();
  await using ada = example("room", "join", "lobby", "--url", server.url, "--name", "ada");
  ada.stdin.end("hello\n\nis anybody here?\n");
  expect(await ada.ended).toBe(0);
  expect(ada.stdout).toBe("* here: ada\nada: hello\nada: is anybody here?\n");
  expect(ada.stderr).toBe("");
  expect(await server.said("lobby")).toEqual(["ada: hello", "ada: is anybody here?"]);
});

test("watch prints messages as they come, and which members join and leave", async () => {
  await using server = await serveRooms();
  const url = ["--url", server.url];
  await using watch = example("room", "watch", "lobby", ...url);
  await watch.prints(/^\* here: nobody\n$/);
  await using ada = example("room", "join", "lobby", ...url, "--name", "ada");
  await watch.prints(/\n\* ada joined\n$/);
  ada.stdin.write("hello\n");
  await watch.prints(/\nada: hello\n$/);
  await using bob = example("room", "join", "lobby", ...url, "--name", "bob", "--oldest");
  await bob.prints(/^\* here: ada, bob\nada: hello\n$/);
  bob.stdin.end("hello ada\n");
  expect(await bob.ended).toBe(0);
  await ada.prints(/\n\* bob joined\nbob: hello ada\n\* bob left\n$/);
  ada.kill("SIGINT");
  expect(await ada.ended).toBe(130);
  await watch.prints(/\n\* bob left\n\* ada left\n$/);
  watch.kill("SIGINT");
  expect(await watch.ended).toBe(130);
  expect(watch.stderr).toBe("");
});

test("watch --json gives cursors, and --after continues after one", async () => {
  await using server = await serveRooms();
  const url = ["--url", server.url];
  await using post = example("room", "post", "lobby", ...url, "--name", "ada");
  post.stdin.end("one\ntwo\nthree\n");
  expect(await post.ended).toBe(0);
  expect(post.stdout).toBe("posted 3 messages\n");

  const watching = ["watch", "lobby", ...url];
  await using all = example("room", ...watching, "--oldest", "--count", "2", "--json");
  expect(await all.ended).toBe(0);
  const [opened, one, two] = jsonLines(all.stdout);
  expect(opened).toEqual({ cursor: expect.any(String), opened: { members: [], count: 0 } });
  expect(one).toMatchObject({ message: { name: "ada", text: "one" } });
  await using rest = example("room", ...watching, "--after", two.cursor, "--count", "1");
  expect(await rest.ended).toBe(0);
  expect(rest.stdout).toBe("* here: nobody\nada: three\n");
});

test("watch continues when its connection is lost", async () => {
  await using server = await serveRooms();
  await using link = await openLink({ host: "127.0.0.1", port: server.port });
  await using watch = example("room", "watch", "lobby", "--url", link.url);
  await watch.prints(/here/);
  await server.post("lobby", "ada", "before");
  await watch.prints(/before\n$/);
  link.cut();
  await server.post("lobby", "ada", "after");
  await watch.prints(/\nada: before\nada: after\n$/);
  await watch.complains(/^room: reconnecting…\nroom: resumed\n$/);
});

test("where two servers have the same rooms, watch and join continue at the other one", async () => {
  await using first = await serveRooms();
  await using second = await serveRooms({ log: first.log });
  const urls = ["--url", `${first.url},${second.url}`];
  await using watch = example("room", "watch", "lobby", ...urls);
  await watch.prints(/here/);
  await using ada = example("room", "join", "lobby", ...urls, "--name", "ada");
  ada.stdin.write("one\n");
  await watch.prints(/\nada: one\n$/);
  await first.close();
  ada.stdin.end("two\n");
  expect(await ada.ended).toBe(0);
  await watch.prints(/\nada: two\n/);
  expect(ada.stdout.match(/^ada: .*/gm)).toEqual(["ada: one", "ada: two"]);
  expect(watch.stdout.match(/^ada: .*/gm)).toEqual(["ada: one", "ada: two"]);
  expect(ada.stderr).toBe("room: reconnecting…\nroom: resumed\n");
});

test("watch continues when the server was started again", async () => {
  await using first = await serveRooms();
  await using watch = example("room", "watch", "lobby", "--url", first.url);
  await watch.prints(/here/);
  await first.post("lobby", "ada", "before");
  await watch.prints(/before\n$/);
  await first.close();
  await watch.complains(/^room: reconnecting…\n$/);
  await first.post("lobby", "ada", "while away");
  await using second = await serveRooms(first);
  await watch.prints(/\nada: while away\n$/);
  await second.post("lobby", "ada", "after");
  await watch.prints(/\nada: after\n$/);
  expect(watch.stdout.match(/^ada: .*/gm)).toHaveLength(3);
});

test("join joins again when the server was started again: no message is lost or comes twice", async () => {
  await using first = await serveRooms();
  const { url, port, log } = first;
  await using ada = example("room", "join", "lobby", "--url", url, "--name", "ada");
  ada.stdin.write("one\n");
  await ada.prints(/ada: one\n$/);
  await first.close();
  await ada.complains(/^room: reconnecting…\n$/);
  ada.stdin.write("two\nthree\n");
  await first.post("lobby", "bob", "hello");
  await using second = await serveRooms({ port, log });
  ada.stdin.end("four\n");
  expect(await ada.ended).toBe(0);
  expect(ada.stdout).toBe("* here: ada\nada: one\nbob: hello\nada: two\nada: three\nada: four\n");
  expect(ada.stderr).toBe("room: reconnecting…\nroom: resumed\n");
  const said = ["ada: one", "bob: hello", "ada: two", "ada: three", "ada: four"];
  expect(await second.said("lobby")).toEqual(said);
});

test("join and watch continue after kill -9 of the server at another on its data, and no message is lost or arrives twice", async () => {
  await using data = await tempFolder();
  const serving = ["--data", data.path];
  await using first = await startExampleServer(...serving);
  const url = ["--url", first.url];
  await using watch = example("room", "watch", "lobby", ...url);
  await watch.prints(/here/);
  await using ada = example("room", "join", "lobby", ...url, "--name", "ada");
  ada.stdin.write("one\n");
  await watch.prints(/\nada: one\n$/);
  first.kill("SIGKILL");
  await first.ended;
  ada.stdin.write("two\n");
  await ada.complains(/^room: reconnecting…\n$/);
  await using _second = await startExampleServer(...serving, "--port", new URL(first.url).port);
  ada.stdin.end("three\n");
  expect(await ada.ended).toBe(0);
  await watch.prints(/\nada: three\n/);
  for (const { stdout, stderr } of [ada, watch]) {
    expect(stdout.match(/^ada: .*/gm)).toEqual(["ada: one", "ada: two", "ada: three"]);
    expect(stdout).not.toContain("missing");
    expect(stderr).toBe("room: reconnecting…\nroom: resumed\n");
  }
});

test("a message that was stored, but not acknowledged before the server ended, is not posted twice", async () => {
  await using first = await serveRooms({
    change: ({ join }) => ({
      async *join(requests, context) {
        for await (const response of join(requests, context)) {
          if (response.event?.case === "opened") yield response;
        }
      },
    }),
  });
  await using ada = example("room", "join", "lobby", "--url", first.url, "--name", "ada");
  ada.stdin.write("one\ntwo\n");
  await first.holds("lobby", 2);
  await first.close();
  ada.stdin.end();
  await using second = await serveRooms(first);
  expect(await ada.ended).toBe(0);
  expect(ada.stdout).toBe("* here: ada\nada: one\nada: two\n");
  expect(await second.said("lobby")).toEqual(["ada: one", "ada: two"]);
});

test("post with the same producer and sequence posts once", async () => {
  await using server = await serveRooms();
  const posting = ["post", "lobby", "release", "1.2", "--url", server.url, "--name", "ci"];
  const numbered = [...posting, "--producer", "ci", "--sequence", "12"];
  await using first = example("room", ...numbered);
  expect(await first.ended).toBe(0);
  expect(first.stdout).toBe("posted 1 message\n");
  await using second = example("room", ...numbered);
  expect(await second.ended).toBe(0);
  expect(second.stdout).toBe("posted 1 message, 1 was there before\n");
  await using third = example("room", ...numbered, "--json");
  expect(await third.ended).toBe(0);
  expect(JSON.parse(third.stdout)).toMatchObject({ repeated: true });
  expect(await server.said("lobby")).toEqual(["ci: release 1.2"]);
});

test("import adds each line once, however often it is repeated", async () => {
  await using server = await serveRooms();
  const texts = Array.from({ length: 10_000 }, (_, i) => `line ${i}`);
  await using file = await fileWith(`${texts.join("\n\n")}\n`);
  const url = ["--url", server.url, "--name", "ada"];
  const importing = ["import", "lobby", file.path, ...url, "--producer", "p"];
  await using first = example("room", ...importing);
  expect(await first.ended).toBe(0);
  expect(first.stdout).toMatch(
    /^imported 10,000 messages in \d+\.\d s \([\d,]+ a second\), 0 were there before\n$/,
  );
  expect(first.stderr).toBe("");
  await using second = example("room", ...importing, "--json");
  expect(await second.ended).toBe(0);
  expect(JSON.parse(second.stdout)).toEqual({
    messages: "10000",
    repeated: "10000",
    cursor: expect.any(String),
  });
  expect(await server.said("lobby")).toEqual(texts.map((text) => `ada: ${text}`));
});

test("import --json-lines takes names and texts, and names a line that is not valid", async () => {
  await using server = await serveRooms();
  const importing = ["import", "lobby", "-", "--json-lines", "--url", server.url];
  await using good = example("room", ...importing, "--name", "carol");
  good.stdin.end('{"name":"ada","text":"a\\nb"}\n{"name":"ada","text":"c"}\n{"text":"d"}\n');
  expect(await good.ended).toBe(0);
  expect(await server.said("lobby")).toEqual(["ada: a\nb", "ada: c", "carol: d"]);

  await using bad = example("room", ...importing, "--producer", "p");
  bad.stdin.write('{"text":"e"}\n');
  await server.holds("lobby", 4);
  bad.stdin.write('{"text":5}\n');
  expect(await bad.ended).toBe(1);
  expect(bad.stdout).toBe("");
  expect(bad.stderr).toMatch(
    /^room: invalid_argument: line 2 of standard input is not a message: .* --producer p, .*\n$/,
  );
});

test("a file is imported again from its beginning when the server is started again", async () => {
  const taken = gate();
  await using first = await serveRooms({
    change: (rooms) => ({
      async import(requests, context) {
        await rooms.import(firstOf(requests, 100), context);
        taken.open();
        await aborted(context.signal);
        return {};
      },
    }),
  });
  const texts = Array.from({ length: 1000 }, (_, i) => `line ${i}`);
  await using file = await fileWith(texts.join("\n"));
  const url = ["--url", first.url, "--name", "ada"];
  await using importing = example("room", "import", "lobby", file.path, ...url, "--json");
  await taken.opened;
  await first.close();
  await using second = await serveRooms(first);
  expect(await importing.ended).toBe(0);
  expect(JSON.parse(importing.stdout)).toMatchObject({ messages: "1000", repeated: "100" });
  expect(importing.stderr).toBe('{"state":"reconnecting"}\n{"state":"resumed"}\n');
  expect(await second.said("lobby")).toEqual(texts.map((text) => `ada: ${text}`));
});

test("an import from stdin that the server ends says how to continue, while its input waits", async () => {
  await using server = await serveRooms();
  await using importing = example("room", "import", "lobby", "-", "--url", server.url);
  importing.stdin.write("one\n");
  await server.holds("lobby", 1);
  await server.close();
  expect(await importing.ended).toBe(1);
  expect(importing.stderr).toMatch(/^room: unavailable: .* --producer [\da-f-]{36}, .*\n$/);
});

test("list says so when there are no rooms, or when a room has no members", async () => {
  await using server = await serveRooms();
  const url = ["--url", server.url];
  await using none = example("room", "list", ...url);
  expect(await none.ended).toBe(0);
  expect([none.stdout, none.stderr]).toEqual(["", expect.stringMatching(/^room: no rooms yet/)]);
  await using nobody = example("room", "list", "lobby", ...url);
  expect(await nobody.ended).toBe(0);
  expect([nobody.stdout, nobody.stderr]).toEqual(["", "room: nobody is in lobby\n"]);
  await using asJson = example("room", "list", ...url, "--json");
  expect(await asJson.ended).toBe(0);
  expect([asJson.stdout, asJson.stderr]).toEqual(["", ""]);
});

test("list prints the rooms, or the members of one", async () => {
  await using server = await serveRooms();
  for (let i = 0; i < 120; i++) await server.post(`room ${i}`, "ada", "hello");
  const url = ["--url", server.url];
  await using ada = example("room", "join", "lobby", ...url, "--name", "ada");
  await ada.prints(/here/);

  await using all = example("room", "list", ...url);
  expect(await all.ended).toBe(0);
  expect(all.stdout).toMatch(/^lobby {17}1 member\nroom 0 {16}nobody\n/);
  expect(all.stdout.match(/\n/g)).toHaveLength(121);
  await using asJson = example("room", "list", ...url, "--json");
  expect(await asJson.ended).toBe(0);
  expect(jsonLines(asJson.stdout)[0]).toEqual({ name: "lobby", members: 1 });
  await using members = example("room", "list", "lobby", ...url);
  expect(await members.ended).toBe(0);
  expect(members.stdout).toBe("ada\n");
});

test("list prints the first 100 members of a room and their count, and with --all each of them", async () => {
  await using server = await serveRooms();
  await using transport = createTransport({ baseUrl: server.url });
  const rooms = createClient(RoomService, transport);
  const joining = Array.from({ length: 120 }, async (_, n) => {
    const call = rooms.join();
    const name = `member ${`${n}`.padStart(3, "0")}`;
    const open = { room: "lobby", name, producer: name };
    await call.send({ event: { case: "open", value: open } });
    await call[Symbol.asyncIterator]().next();
    return call;
  });
  const calls = await Promise.all(joining);
  // The members of a room with many calls are known after some milliseconds for each of them.
  await expect.poll(async () => (await rooms.listMembers({ room: "lobby" })).count).toBe(120);

  const listing = ["list", "lobby", "--url", server.url];
  await using some = example("room", ...listing);
  expect(await some.ended).toBe(0);
  expect(some.stdout.match(/^member \d+$/gm)).toHaveLength(100);
  expect(some.stderr).toBe("room: 120 members in all: --all prints them\n");
  await using all = example("room", ...listing, "--all");
  expect(await all.ended).toBe(0);
  expect(all.stdout.match(/^member \d+$/gm)).toHaveLength(120);
  expect(all.stderr).toBe("");
  for (const call of calls) call.cancel();
});

test("the names and texts of others cannot control the terminal", async () => {
  await using server = await serveRooms();
  await server.post("lobby", "a\u001b[2Jda", "x\u009b31m\u202ey\nz");
  const watching = ["watch", "lobby", "--oldest", "--count", "1", "--url", server.url];
  await using watch = example("room", ...watching);
  expect(await watch.ended).toBe(0);
  expect(watch.stdout).toBe("* here: nobody\na\\u001b[2Jda: x\\u009b31m\\u202ey\\nz\n");
  await using asJson = example("room", ...watching, "--json");
  expect(await asJson.ended).toBe(0);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is the point.
  expect(asJson.stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
  expect(jsonLines(asJson.stdout)[1].message.text).toBe("x\u009b31m\u202ey\nz");
});

test("a line that cannot be a message ends a join from a pipe, and the lines before it are stored", async () => {
  await using server = await serveRooms();
  await using ada = example("room", "join", "lobby", "--url", server.url, "--name", "ada");
  ada.stdin.write(`one\n${"x".repeat(4097)}\n`);
  expect(await ada.ended).toBe(1);
  expect(await server.said("lobby")).toEqual(["ada: one"]);
  expect(ada.stderr).toMatch(/: line 2 of standard input: a message has 4096 .* 4097\n$/);
});
