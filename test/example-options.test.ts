import { expect, test, vi } from "vitest";
import { chat } from "../examples/greeter/chat.ts";
import { collect } from "../examples/greeter/collect.ts";
import { hello } from "../examples/greeter/hello.ts";
import { subscribe } from "../examples/greeter/subscribe.ts";
import { importCommand } from "../examples/rooms/client/import.ts";
import { join } from "../examples/rooms/client/join.ts";
import { list } from "../examples/rooms/client/list.ts";
import { post } from "../examples/rooms/client/post.ts";
import { watch } from "../examples/rooms/client/watch.ts";
import { readKeep, readMaxBytes } from "../examples/server/open-log.ts";
import { logRemedy } from "../examples/server/remedies.ts";
import { serve } from "../examples/server/serve.ts";
import { type Command, group } from "../examples/terminal/command.ts";
import { describe } from "../examples/terminal/report.ts";
import {
  readCount,
  readDuration,
  readInterval,
  readPort,
  readSize,
  readUrl,
  readUrls,
} from "../examples/terminal/values.ts";
import { Code, ConnectError } from "../src/index.ts";
import { example, type ProgramName } from "./support/program.ts";

// Some tests start programs, and a busy machine takes its time for that.
vi.setConfig({ testTimeout: 60_000 });

test.each([
  ["0s", 0],
  ["250ms", 250],
  ["1s", 1000],
  ["1.5s", 1500],
  ["1m30s", 90_000],
  ["2h", 7_200_000],
  ["7d", 604_800_000],
  ["1h1m1s1ms", 3_661_001],
])("the duration %s is %d ms", (text, ms) => {
  expect(readDuration(text)).toBe(ms);
});

test.each(["", "1", "s", "-1s", "1 s", "1s ", "1w", "1e3s", "1s2", ".5s", "∞s", "99999999h"])(
  "%j is not a duration",
  (text) => {
    expect(() => readDuration(text)).toThrow();
  },
);

test.each([
  ["1B", 1],
  ["100KB", 100_000],
  ["1.5 mb", 1_500_000],
  ["20GB", 2e10],
])("the size %s is %d bytes", (text, bytes) => {
  expect(readSize(text)).toBe(bytes);
  expect(readMaxBytes(text)).toBe(bytes);
});

test.each(["", "0MB", "0.1B", "100", "-1GB", "1PB", "1e3MB", "9999999999TB"])(
  "%j is not a size",
  (text) => {
    expect(() => readSize(text)).toThrow("write a size with its unit, such as 500MB or 20GB");
  },
);

test("the rooms may use any size", () => {
  expect(readMaxBytes("none")).toBe(Number.POSITIVE_INFINITY);
});

test.each([
  ["30d", { ageMs: 2_592_000_000 }],
  ["10000", { records: 10_000 }],
  ["12h,500", { ageMs: 43_200_000, records: 500 }],
  ["all", {}],
])("a room keeps %s", (text, kept) => {
  expect(readKeep(text)).toEqual(kept);
});

test.each(["", "0", "0s", "1d,2d", "1,2", "1d,", "-1", "all,1d", "some"])(
  "%j says not what a room keeps",
  (text) => {
    expect(() => readKeep(text)).toThrow(/^write /);
  },
);

test("where NATS has too little storage for the rooms, the remedy is --max-bytes", () => {
  const refused = "the NATS server does not take the stream hawser as it must be";
  const error = new ConnectError(`${refused}: insufficient storage resources available`);
  expect(logRemedy(error, { kind: "nats", servers: "nats://127.0.0.1:4222" })).toBe(
    "let the rooms use less of it with --max-bytes",
  );
});

test("an interval of 0 is refused", () => {
  expect(readInterval("1ms")).toBe(1);
  expect(() => readInterval("0s")).toThrow("above 0");
});

test.each(["", "-1", "1.5", "1e3", "0x10", " 1", "4294967296"])("%j is not a count", (text) => {
  expect(() => readCount(text)).toThrow("0 to 4294967295");
});

test.each(["-1", "65536", "http"])("%j is not a port", (text) => {
  expect(() => readPort(text)).toThrow("0 to 65535");
});

test.each(["localhost:50051", "127.0.0.1", "grpc://host:1", "http://", "unix:", "ftp://x"])(
  "%j is not a URL to call",
  (text) => {
    expect(() => readUrl(text)).toThrow("http://127.0.0.1:50051");
  },
);

test.each([
  ["http://a:1", ["http://a:1"]],
  ["http://a:1,https://b:2,unix:/c,d", ["http://a:1", "https://b:2", "unix:/c,d"]],
])("%s are addresses", (text, urls) => {
  expect(readUrls(text)).toEqual(urls);
});

test.each(["http://a:1,", ",http://a:1", "http://a:1,b:2"])("%j are not addresses", (text) => {
  expect(() => readUrls(text)).toThrow("http://127.0.0.1:50051");
});

/** Returns what a command reads from these words: its values or an error, without a request for help. */
const COMMANDS: Record<string, Command<unknown>> = {
  ...{ serve, chat, subscribe, collect, hello },
  ...{ join, watch, post, import: importCommand, list },
};

test.each([
  ["chat --count five", "--count 'five' is not valid: write a whole number from 0 to 4294967295"],
  ["chat --count", "--count has no value: write --count <number>"],
  ["chat --count=", "--count '' is not valid: write a whole number"],
  ["chat --interval soon", "--interval 'soon' is not valid: write a duration with its unit"],
  ["chat --cut-every 0s", "--cut-every '0s' is not valid: write a duration above 0"],
  ["chat --cuont 5", "there is no option --cuont: did you mean --count?"],
  ["chat --cutEvery 5s", "there is no option --cutEvery: did you mean --cut-every?"],
  ["chat --frobnicate", "there is no option --frobnicate: --help lists those there are"],
  ["chat --__proto__ x", "there is no option --__proto__: "],
  ["chat -x", "there is no option -x: "],
  ["chat --json=yes", "--json takes no value: leave out 'yes'"],
  ["chat --no-json", "there is no option --no-json: "],
  ["chat now", "'now' is one argument too many"],
  ["subscribe --interval -1s", "--interval '-1s' is not valid: write a duration with its unit"],
  ["hello --url localhost:50051", "--url 'localhost:50051' is not valid: write http://HOST:PORT"],
  ["hello --timeout 0x1s", "--timeout '0x1s' is not valid: write a duration with its unit"],
  ["hello a b", "'b' is one argument too many"],
  ["collect", "<file> is missing: the text, in UTF-8"],
  ["serve --unix x.sock --port 1", "--unix and --port exclude each other"],
  ["serve --port 1 --unix x.sock", "--unix and --port exclude each other"],
  ["serve --log redis://x", "write memory, sqlite:PATH or nats://HOST:PORT"],
  ["serve --log memory:x", "write memory, sqlite:PATH or nats://HOST:PORT"],
  ["serve --log nats://%zz@h", "write nats://HOST:PORT, or nats://USER:PASSWORD@HOST:PORT"],
  ["serve --log nats://h:4222/rooms", "'nats://h:4222/rooms' is not valid: write nats://"],
  ["serve --data=", "--data '' is not valid: write the path of a directory"],
  ["serve --log memory --data x", "--log and --data exclude each other"],
  ["join lobby --name a\u001bb", "it holds U+001B: leave out characters that are not seen"],
  ["join", "<room> is missing: the room"],
  ["watch lobby --oldest --after x", "--after and --oldest exclude each other"],
  ["post lobby x --sequence 0", "--sequence '0' is not valid: write a whole number from 1 on"],
  ["import lobby", "<file> is missing: the messages, in UTF-8"],
])("the error of %j says what is wrong", (line, complaint) => {
  const [name = "", ...words] = line.split(" ");
  const read = () => COMMANDS[name]?.read(words);
  expect(read).toThrow(expect.objectContaining({ code: Code.InvalidArgument }));
  expect(read).toThrow(complaint);
});

test.each([
  ["hello --url ftp://ann:secret@127.0.0.1:1", "'ftp://…@127.0.0.1:1'"],
  ["serve --log nats://ann:secret/%zz@127.0.0.1:1", "'nats://…@127.0.0.1:1'"],
])("the error of %j does not have the password", (line, shown) => {
  const [name = "", ...words] = line.split(" ");
  const read = () => COMMANDS[name]?.read(words);
  expect(read).toThrow(shown);
  expect(read).not.toThrow("secret");
});

test("an option that is not given has the default of its table, and of several the final one counts", () => {
  expect(chat.read([])).toEqual({
    ...{ count: undefined, interval: 1000, cutEvery: undefined },
    ...{ url: ["http://127.0.0.1:50051"], timeout: undefined },
    ...{ ca: undefined, cert: undefined, key: undefined, json: false },
  });
  const twice = ["--count", "1", "--count=2", "--url", "http://a", "--url", "http://b", "--json"];
  expect(chat.read(twice)).toMatchObject({
    ...{ count: 2, json: true, url: ["http://a", "http://b"] },
  });
});

test("arguments may stand anywhere, and after -- nothing is an option", () => {
  expect(hello.read(["--json", "Ada"])).toMatchObject({ name: "Ada", json: true });
  expect(hello.read([])).toMatchObject({ name: "world" });
  expect(hello.read(["--", "--json"])).toMatchObject({ name: "--json", json: false });
  expect(collect.read(["-"])).toMatchObject({ file: "-" });
  expect(post.read(["lobby", "hello", "--name", "ada", "all"])).toMatchObject({
    ...{ room: "lobby", text: ["hello", "all"], name: "ada" },
  });
});

test.each(Object.entries(COMMANDS))(
  "%s --help prints its options and examples",
  (name, command) => {
    for (const words of [["--help"], ["-h"], ["--json", "--help", "a", "b", "c"]]) {
      expect(command.read(words)).toBeUndefined();
    }
    const usage = /^Usage: (npm (?:start|run \w+) --(?: \w+)?) \[options\]/.exec(command.help)?.[1];
    expect(usage).toBe(
      name === "serve"
        ? "npm start --"
        : name === "chat"
          ? "npm run chat --"
          : `npm run ${["subscribe", "collect", "hello"].includes(name) ? "greeter" : "room"} -- ${name}`,
    );
    expect(command.help).toMatch(/\nExamples:\n {2}\$ .*npm /);
    expect(command.help).toMatch(/^ {2}--json +print one JSON object a line/m);
    for (const line of command.help.split("\n")) expect(line.length).toBeLessThanOrEqual(90);
  },
);

test("a group runs only the command of the first word, and loads no other", async () => {
  const ran: string[][] = [];
  const run = async (words: readonly string[]) => void ran.push([...words]);
  const program = group({
    program: "many",
    ...{ usage: "x", about: "x" },
    commands: {
      chat: async () => ({ about: "chats", run }),
      join: () => Promise.reject(new Error("it is loaded")),
    },
  });
  await program.run(["chat", "--help", "a"]);
  expect(ran).toEqual([["--help", "a"]]);
  await expect(program.run(["caht"])).rejects.toThrow("no command caht: did you mean chat?");
  await expect(program.run(["toString"])).rejects.toThrow("there is chat, join");
  await expect(program.run([])).rejects.toThrow("name a command: chat, join");
});

test("a status code that gRPC does not have is printed as unknown", () => {
  const error = new ConnectError("as it is", 17 as Code);
  expect(describe(error, {})).toBe(`${process.title}: unknown: as it is\n`);
  expect(JSON.parse(describe(error, { json: true }))).toMatchObject({ code: "unknown" });
});

test.each<[name: ProgramName, words: string[], complaint: string]>([
  ["chat", ["--count", "five"], "--count 'five' is not valid"],
  ["room", ["jion"], "there is no command jion: did you mean join?"],
  ["server", ["--tls-cert", "no-such.pem"], "no such file: no-such.pem"],
  ["greeter", ["hello", "--ca", "x.pem"], "use an https:// URL"],
  ["chat", ["--url", "https://127.0.0.1:1", "--key", "x"], "--cert and --key belong together"],
  ["chat", ["--url", "https://192.0.2.1", "--cut-every", "1s"], "192.0.2.1 cannot be cut"],
  [
    "chat",
    ["--url", "http://127.0.0.1:1", "--cut-every", "1s"],
    'cannot reach http://127.0.0.1:1 (ECONNREFUSED): is the server running? Start one with "npm start"',
  ],
  ["room", ["post", "lobby", "x", "--sequence", "1"], "--producer and --sequence belong together"],
  ["room", ["import", "lobby", "no-such.txt"], "no such file: no-such.txt"],
  ["room", ["list", "--url", "http://127.0.0.1:1"], 'Start one with "npm start"'],
])("%s %j prints what is wrong in one line, exit code 1", async (name, words, complaint) => {
  await using program = example(name, ...words);
  expect(await program.ended).toBe(1);
  expect(program.stdout).toBe("");
  expect(program.stderr).toMatch(
    new RegExp(`^${name}: (invalid_argument|not_found|unavailable): .*\n$`),
  );
  expect(program.stderr).toContain(complaint);
});

test("bad arguments are reported as JSON with --json", async () => {
  await using program = example("chat", "--count", "five", "--json");
  expect(await program.ended).toBe(1);
  expect(JSON.parse(program.stderr)).toMatchObject({ code: "invalid_argument" });
});

test.each<[ProgramName, string[]]>([
  ["greeter", ["chat", "subscribe", "collect", "hello"]],
  ["room", ["join", "watch", "post", "import", "list"]],
])("%s --help lists the commands", async (name, commands) => {
  await using program = example(name, "--help");
  expect(await program.ended).toBe(0);
  for (const command of commands) {
    expect(program.stdout).toMatch(new RegExp(`^  ${command} .*\\w`, "m"));
  }
  expect(program.stderr).toBe("");
});

test("a command prints its help and exits 0", async () => {
  await using program = example("chat", "--help");
  expect(await program.ended).toBe(0);
  expect(program.stdout).toBe(`${chat.help}\n`);
  expect(program.stderr).toBe("");
});
