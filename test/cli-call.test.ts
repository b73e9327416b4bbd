/** `hawser call`: calls of each kind, their requests and responses as lines of JSON. */
import { spawnSync } from "node:child_process";
import { describe, expect, test, vi } from "vitest";
import { Code, ConnectError } from "../src/index.ts";
import { result, startCliWorld } from "./support/cli-world.ts";

// Each test starts programs, and a busy machine takes its time for that.
vi.setConfig({ testTimeout: 60_000 });

const CTRL_C = "\u0003";
const CTRL_D = "\u0004";

/** The contract by the server's reflection, or by the .proto files of the repository. */
const contracts: [name: string, words: string[]][] = [
  ["reflection", []],
  [".proto files", ["--proto", "."]],
];

describe.each(contracts)("with the contract by %s", (_, contract) => {
  test("each kind of call takes its requests from arguments or stdin, and prints responses", async () => {
    await using world = await startCliWorld();
    const hello = world.call("example.Greeter/SayHello", '{"content":"Ada"}', ...contract);
    expect(await result(hello)).toEqual({
      code: 0,
      stdout: '{"reply":"Hello, Ada"}\n',
      stderr: "",
    });

    const chat = world.call(
      "example.Greeter/Chat",
      '{"content":"a"}',
      '{"content":"b"}',
      ...contract,
    );
    const replies = '{"reply":"Received: a"}\n{"reply":"Received: b"}\n';
    expect(await result(chat)).toEqual({ code: 0, stdout: replies, stderr: "" });

    const collect = world.call("example.Greeter/Collect", ...contract);
    collect.stdin.end('{"content":"a"}\n\n{"content":"bc"}');
    const counted = '{"count":2,"bytes":"3"}\n';
    expect(await result(collect)).toEqual({ code: 0, stdout: counted, stderr: "" });

    const subscribe = world.call("example.Greeter/Subscribe", "-", ...contract);
    subscribe.stdin.end('{"count":2,"interval":"0s"}\n');
    const { code, stdout } = await result(subscribe);
    expect(code).toBe(0);
    const sequences = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).sequence);
    expect(sequences).toEqual(["1", "2"]);
  });
});

test("a method that takes one request is called with an empty message if none is given", async () => {
  await using world = await startCliWorld();
  const hello = await result(world.call("example.Greeter/SayHello"));
  expect(hello).toEqual({ code: 0, stdout: '{"reply":"Hello, "}\n', stderr: "" });
});

test("responses are printed as they come, while stdin stays open", async () => {
  await using world = await startCliWorld();
  await using chat = world.call("example.Greeter/Chat");
  chat.stdin.write('{"content":"one"}\n');
  await chat.prints(/Received: one/);
  chat.stdin.write('{"content":"two"}\n');
  await chat.prints(/Received: two/);
  chat.stdin.end();
  expect(await chat.ended).toBe(0);
});

test("a call continues after its connection was cut: stderr says so, and nothing is lost or repeated", async () => {
  await using world = await startCliWorld();
  await using chat = world.call("example.Greeter/Chat");
  chat.stdin.write('{"content":"1"}\n');
  await chat.prints(/Received: 1/);
  await world.link.cut();
  await chat.complains(/^hawser: reconnecting…\nhawser: resumed\n$/);
  chat.stdin.end('{"content":"2"}\n');
  expect(await chat.ended).toBe(0);
  expect(chat.stdout).toBe('{"reply":"Received: 1"}\n{"reply":"Received: 2"}\n');
});

test("a push continues from its cursor after the server was killed, and --after begins after one", async () => {
  await using world = await startCliWorld();
  const post = (sequence: bigint) => {
    const message = { room: "lobby", name: "ada", producer: "ada's" };
    return world.rooms.post({ ...message, sequence, text: `text ${sequence}` });
  };
  const { cursor } = await post(1n);
  await using watch = world.call(
    "chat.v1.RoomService/Watch",
    '{"room":"lobby","start":"START_OLDEST"}',
  );
  await watch.prints(/text 1/);
  await world.server.kill();
  await watch.complains(/reconnecting…/);
  await world.server.restart();
  await watch.complains(/resumed/);
  const last = await post(2n);
  await watch.prints(/text 2/);
  watch.kill("SIGINT");
  expect(await watch.ended).toBe(130);
  expect(watch.stdout.match(/text \d/g)).toEqual(["text 1", "text 2"]);
  expect(watch.stderr).toContain(
    `hawser: canceled: interrupted: continue with --after ${last.cursor}\n`,
  );

  await using later = world.call(
    "chat.v1.RoomService/Watch",
    '{"room":"lobby"}',
    "--after",
    cursor,
  );
  await later.prints(/text 2/);
  expect(later.stdout).not.toContain("text 1");
});

test("Ctrl-C cancels a call at both ends, with exit code 130 and no error text", async () => {
  const cancelled = Promise.withResolvers<void>();
  await using world = await startCliWorld({
    greeter: {
      async *subscribe(_, { signal }) {
        signal.addEventListener("abort", () => cancelled.resolve());
        yield { sequence: 1n };
        await cancelled.promise;
      },
    },
  });
  await using call = world.call("example.Greeter/Subscribe");
  await call.prints(/"sequence":"1"/);
  call.kill("SIGINT");
  expect(await call.ended).toBe(130);
  expect(call.stderr).toBe("");
  await cancelled.promise;
});

test("a call that fails is one line with its code, exit code 1", async () => {
  await using world = await startCliWorld({
    greeter: {
      sayHello() {
        throw new ConnectError("no\nsuch name", Code.NotFound);
      },
      async collect(requests) {
        for await (const _ of requests) throw new ConnectError("full", Code.ResourceExhausted);
        return {};
      },
      chat() {
        throw new ConnectError("not now", Code.Aborted);
      },
    },
  });
  const said = (stderr: string) => ({ code: 1, stdout: "", stderr: `${stderr}\n` });
  const hello = await result(world.call("example.Greeter/SayHello"));
  expect(hello).toEqual(said("hawser: not_found: no\\nsuch name"));
  // Their stdin stays open.
  await using collect = world.call("example.Greeter/Collect");
  collect.stdin.write("{}\n");
  expect(await result(collect)).toEqual(said("hawser: resource_exhausted: full"));
  const chat = await result(world.call("example.Greeter/Chat"));
  expect(chat).toEqual(said("hawser: aborted: not now"));
  const json = await result(world.call("example.Greeter/SayHello", "--json"));
  expect(JSON.parse(json.stderr)).toEqual({ code: "not_found", message: "no\nsuch name" });
});

test.each([
  ["example.Greeter/SayHello", ["{}", "{}"], "example.Greeter/SayHello takes one request, not 2"],
  [
    "example.Greeter/Chat",
    ['{"content":"a"}', '{"contents":"b"}'],
    '{"contents":"b"} is not a request in JSON, of example.MessageRequest: key "contents" is unknown',
  ],
  ["example.Greeter/Chta", [], "example.Greeter has no method Chta: did you mean Chat?"],
  [
    "example.Greter/Chat",
    [],
    "the server has no service example.Greter: did you mean example.Greeter?",
  ],
  [
    "example.Greeter.Chat",
    [],
    "<method> 'example.Greeter.Chat' is not valid: write SERVICE/METHOD, ",
  ],
  [
    "example.Greeter/Subscribe",
    ["--after", "x"],
    "--after: example.Greeter/Subscribe has no option hawser.v1.resume",
  ],
  [
    "example.Greeter/Chat",
    ["--proto", "no-such"],
    "--proto no-such is not a directory: check the path",
  ],
  ["example.Greeter/Chat", ["--cert", "x.pem"], "--ca, --cert and --key are for TLS, and http://"],
])("%s %j is refused before the call begins, exit code 2", async (method, words, complaint) => {
  let calls = 0;
  const refuse = () => {
    calls++;
    throw new ConnectError("called", Code.Internal);
  };
  await using world = await startCliWorld({
    greeter: { chat: refuse, subscribe: refuse, sayHello: refuse },
  });
  const { code, stdout, stderr } = await result(world.call(method, ...words));
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toMatch(/^hawser: invalid_argument: .*\n$/);
  expect(stderr).toContain(complaint);
  expect(calls).toBe(0);
});

test("a line of stdin that is not a request is named, and ends the call", async () => {
  await using world = await startCliWorld();
  await using chat = world.call("example.Greeter/Chat");
  chat.stdin.write('{"content":"a"}\n');
  await chat.prints(/Received: a/);
  chat.stdin.write("\nhello\n");
  expect(await chat.ended).toBe(2);
  expect(chat.stderr).toMatch(
    /^hawser: invalid_argument: line 3 of stdin is not a request in JSON, of example\.MessageRequest: .*\n$/,
  );
});

test("without a server, or without its reflection, the line on stderr has the remedy", async () => {
  await using world = await startCliWorld({ server: { reflection: false } });
  const silent = await result(world.call("example.Greeter/Chat"));
  expect(silent).toMatchObject({
    code: 1,
    stderr:
      "hawser: failed_precondition: the server has no reflection: say with --proto where its .proto files are\n",
  });
  await world.server.kill();
  const gone = await result(world.call("example.Greeter/SayHello", "--proto", "."));
  expect(gone).toMatchObject({ code: 1 });
  expect(gone.stderr).toMatch(/^hawser: unavailable: cannot reach /);
});

/** util-linux's script(1) makes a terminal; the one of BSD and macOS takes other arguments. */
const canMakeTerminals = spawnSync("script", ["-qec", "true", "/dev/null"]).status === 0;

describe.skipIf(!canMakeTerminals)("on a terminal", () => {
  test("each line is a request, one that is not valid is not sent, and Ctrl-D half-closes", async () => {
    await using world = await startCliWorld();
    await using chat = world.callOnTerminal("example.Greeter/Chat");
    await chat.prints(/Ctrl-D ends the conversation, Ctrl-C cancels it\.\r?\n(?:.|\s)*> /);
    chat.stdin.write('{"content":"one"}\r');
    await chat.prints(/"reply":"Received: one"/);
    chat.stdin.write("two\r");
    await chat.prints(/hawser: invalid_argument: two is not a request in JSON/);
    chat.stdin.write('{"content":"three"}\r');
    await chat.prints(/"reply":"Received: three"/);
    chat.stdin.write(CTRL_D);
    expect(await chat.ended).toBe(0);
  });

  test("client streaming prints its response after Ctrl-D", async () => {
    await using world = await startCliWorld();
    await using collect = world.callOnTerminal("example.Greeter/Collect");
    await collect.prints(/> /);
    collect.stdin.write('{"content":"one"}\r');
    collect.stdin.write(CTRL_D);
    await collect.prints(/\{"count":1,"bytes":"3"\}/);
    expect(await collect.ended).toBe(0);
  });

  test("Ctrl-C cancels, exit code 130", async () => {
    await using world = await startCliWorld();
    await using chat = world.callOnTerminal("example.Greeter/Chat");
    await chat.prints(/> /);
    chat.stdin.write(CTRL_C);
    expect(await chat.ended).toBe(130);
    expect(chat.stdout).not.toContain("hawser:");
  });
});
