import { readFileSync } from "node:fs";
import { expect, test, vi } from "vitest";
import { describe } from "../examples/terminal/report.ts";
import { readCount, readDuration, readPort, readUrl } from "../examples/terminal/values.ts";
import { type Code, ConnectError } from "../src/index.ts";
import { hawser } from "./support/program.ts";

// Each test starts programs, and a busy machine takes its time for that.
vi.setConfig({ testTimeout: 60_000 });

const COMMANDS = ["serve", "chat", "subscribe", "collect", "hello"];

test.each([
  ["0s", 0],
  ["250ms", 250],
  ["1s", 1000],
  ["1.5s", 1500],
  ["1m30s", 90_000],
  ["2h", 7_200_000],
  ["1h1m1s1ms", 3_661_001],
])("the duration %s is %d ms", (text, ms) => {
  expect(readDuration(text)).toBe(ms);
});

test.each(["", "1", "s", "-1s", "1 s", "1s ", "1d", "1e3s", "1s2", ".5s", "∞s", "99999999h"])(
  "%j is no duration",
  (text) => {
    expect(() => readDuration(text)).toThrow();
  },
);

test.each(["", "-1", "1.5", "1e3", "0x10", " 1", "4294967296"])("%j is no count", (text) => {
  expect(() => readCount(text)).toThrow("0 to 4294967295");
});

test.each(["-1", "65536", "http"])("%j is no port", (text) => {
  expect(() => readPort(text)).toThrow("0 to 65535");
});

test.each(["localhost:50051", "127.0.0.1", "grpc://host:1", "http://", "unix:", "ftp://x"])(
  "%j is no URL to call",
  (text) => {
    expect(() => readUrl(text)).toThrow("http://127.0.0.1:50051");
  },
);

test.each([
  [["chat", "--count", "five"], "option '--count <number>' argument 'five' is invalid. It must be"],
  [["chat", "--interval", "soon"], "'soon' is invalid. Write a duration with its unit"],
  [["subscribe", "--interval", "-1s"], "'-1s' is invalid. Write a duration with its unit"],
  [["hello", "--url", "localhost:50051"], "'localhost:50051' is invalid. Write http://HOST:PORT"],
  [["hello", "--timeout", "0x1s"], "'0x1s' is invalid. Write a duration with its unit"],
  [["collect"], "missing required argument 'file'"],
  [["chat", "--cuont", "5"], "unknown option '--cuont' (Did you mean --count?)"],
  [["caht"], "unknown command 'caht' (Did you mean chat?)"],
  [["serve", "--unix", "x.sock", "--port", "1"], "cannot be used with option '--port <number>'"],
  [["serve", "--tls-cert", "no-such.pem"], "no such file: no-such.pem"],
  [["serve", "--log", "redis://x"], "Write memory, sqlite:PATH or nats://HOST:PORT"],
  [["serve", "--log", "memory:x"], "Write memory, sqlite:PATH or nats://HOST:PORT"],
  [["serve", "--log", "nats://%zz@h"], "Write nats://HOST:PORT, or nats://USER:PASSWORD@HOST:PORT"],
  [["serve", "--log", "nats://h:4222/rooms"], "'nats://h:4222/rooms' is invalid. Write nats://"],
  [["serve", "--data", ""], "Write the path of a directory"],
  [["serve", "--log", "memory", "--data", "x"], "cannot be used with option '--data <directory>'"],
  [["hello", "--ca", "x.pem"], "use an https:// URL"],
  [["hello", "--url", "https://127.0.0.1:1", "--key", "x.pem"], "--cert and --key belong together"],
])("hawser %j is told what is wrong in one line, exit code 1", async (args, complaint) => {
  await using program = hawser(...args);
  expect(await program.ended).toBe(1);
  expect(program.stdout).toBe("");
  expect(program.stderr).toMatch(/^hawser: (invalid_argument|not_found): .*\n$/);
  expect(program.stderr).toContain(complaint);
});

test.each([
  ["hello", "--url", "ftp://ann:secret@127.0.0.1:1"],
  ["serve", "--log", "nats://ann:secret/%zz@127.0.0.1:1"],
])("%s %s %s is told without its password", async (...args) => {
  await using program = hawser(...args);
  expect(await program.ended).toBe(1);
  expect(program.stderr).toMatch(/:\/\/…@127\.0\.0\.1:1' is invalid\. Write /);
  expect(program.stderr).not.toContain("secret");
});

test("a status code that gRPC does not have is told as unknown", () => {
  const error = new ConnectError("as it is", 17 as Code);
  expect(describe(error, {})).toBe("hawser: unknown: as it is\n");
  expect(JSON.parse(describe(error, { json: true }))).toMatchObject({ code: "unknown" });
});

test("with --json bad arguments are told as JSON", async () => {
  await using program = hawser("chat", "--count", "five", "--json");
  expect(await program.ended).toBe(1);
  expect(JSON.parse(program.stderr)).toMatchObject({ code: "invalid_argument" });
});

test("--help lists the commands", async () => {
  await using program = hawser("--help");
  expect(await program.ended).toBe(0);
  for (const command of COMMANDS) {
    expect(program.stdout).toMatch(new RegExp(`^  ${command} .*\\w`, "m"));
  }
});

test.each(COMMANDS)("%s --help gives its options and examples", async (command) => {
  await using program = hawser(command, "--help");
  expect(await program.ended).toBe(0);
  expect(program.stdout).toMatch(new RegExp(`^Usage: hawser ${command} `));
  expect(program.stdout).toMatch(new RegExp(`^Examples:\n  \\$ .*hawser ${command}`, "m"));
  expect(program.stdout).toContain("--json");
  expect(program.stderr).toBe("");
});

test("--version prints the version of the package", async () => {
  const { version } = JSON.parse(readFileSync("package.json", "utf8"));
  await using program = hawser("--version");
  expect(await program.ended).toBe(0);
  expect(program.stdout).toBe(`${version}\n`);
});
