/** Tools that know gRPC and nothing of Hawser, and have no .proto: grpcurl and grpc-health-probe; ghz and buf curl if asked. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { RoomService } from "../../gen/chat/v1/room_pb.js";
import { Greeter } from "../../gen/example/greeter_pb.js";
import {
  Code,
  ConnectError,
  createServer,
  type Server,
  type ServerOptions,
} from "../../src/server.ts";
import { certFile, certs } from "../support/tls.ts";
import { FAILURE_MESSAGE, switchedGreeter } from "./greeter.ts";
import { BIN, endsWithUs, make } from "./programs.ts";
import { check } from "./report.ts";

const FOLDER = `${BIN}tools/`;
const BUF = fileURLToPath(new URL("../../node_modules/.bin/buf", import.meta.url));

const TOOLS = [
  "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4",
  "github.com/grpc-ecosystem/grpc-health-probe@v0.4.62",
];
const GHZ = "github.com/bojand/ghz/cmd/ghz@v0.93.0";

const HELLO = '{"content":"you"}';
const TOKEN = "authorization: Bearer token-of-ada";

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function install(packages: readonly string[]): Promise<void> {
  mkdirSync(FOLDER, { recursive: true });
  const here = fileURLToPath(new URL(".", import.meta.url));
  // Each by itself: go install takes packages of one module.
  for (const one of packages)
    await make("go", ["install", one], { cwd: here, env: { GOBIN: FOLDER } });
}

/** Runs a program to its end. */
async function run(program: string, args: readonly string[], stdin = ""): Promise<Ended> {
  const child = spawn(program, args, { stdio: "pipe" });
  const closed = once(child, "close");
  endsWithUs(() => child.kill("SIGKILL"), closed);
  child.stdin.on("error", () => {});
  child.stdin.end(stdin);
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    closed,
  ]);
  return { code, stdout, stderr };
}

/** Runs a program that must succeed; resolves with what it prints. */
async function outputOf(program: string, args: readonly string[], stdin?: string): Promise<string> {
  const { code, stdout, stderr } = await run(program, args, stdin);
  assert.equal(code, 0, `${args.join(" ")}: ${stderr || stdout}`);
  return stdout;
}

const grpcurl = (...args: string[]) => outputOf(`${FOLDER}grpcurl`, args);
const probe = (...args: string[]) => run(`${FOLDER}grpc-health-probe`, args);

/** A server with the Greeter of README.md, and the contract of the example's rooms. */
async function serve(options: Partial<ServerOptions> = {}) {
  const server = createServer({
    routes: (router) => router.service(Greeter, switchedGreeter()).service(RoomService, {}),
    ...{ health: true, reflection: true, logger: { error() {} } },
    ...options,
  });
  const { url, port } = await server.listen({ port: 0 });
  return Object.assign(server, { url, address: `127.0.0.1:${port}` });
}

/** @param all also those tools that CI has no time for */
export async function tools(all: boolean): Promise<void> {
  await install(all ? [...TOOLS, GHZ] : TOOLS);
  await using server = await serve();
  const { address } = server;
  await reflected(address);
  await called(address);
  await probed(server, address);
  await overTls();
  await authenticated();
  if (!all) return;
  await loaded(address);
  await curled(server.url);
}

async function reflected(address: string): Promise<void> {
  await check("grpcurl list", async () => {
    assert.deepEqual((await grpcurl("-plaintext", address, "list")).trim().split("\n"), [
      "chat.v1.RoomService",
      "example.Greeter",
      "grpc.health.v1.Health",
      "grpc.reflection.v1.ServerReflection",
      "grpc.reflection.v1alpha.ServerReflection",
    ]);
  });
  await check("grpcurl describe shows the option of a method that continues", async () => {
    const text = await grpcurl("-plaintext", address, "describe", "chat.v1.RoomService.Watch");
    assert.match(
      text,
      /option \(\.hawser\.v1\.resume\) = \{\s*cursor: "cursor",\s*after: "after"\s*\}/,
    );
  });
  for (const symbol of ["chat.v1.JoinRequest", "hawser.v1.resume", "google.protobuf.Duration"]) {
    await check(`grpcurl describe ${symbol}`, async () => {
      assert.match(
        await grpcurl("-plaintext", address, "describe", symbol),
        /is a(n extension| message):/,
      );
    });
  }
  await check("grpcurl describe of what is not there", async () => {
    const args = ["-plaintext", address, "describe", "example.Nobody"];
    const { code, stderr } = await run(`${FOLDER}grpcurl`, args);
    assert.notEqual(code, 0);
    assert.match(stderr, /not found/i);
  });
}

async function called(address: string): Promise<void> {
  await check("grpcurl: a unary call", async () => {
    const reply = await grpcurl("-plaintext", "-d", HELLO, address, "example.Greeter/SayHello");
    assert.deepEqual(JSON.parse(reply), { reply: "Hello, you" });
  });
  await check("grpcurl: a push", async () => {
    const request = '{"count":3,"interval":"0.001s"}';
    const pushed = await grpcurl("-plaintext", "-d", request, address, "example.Greeter/Subscribe");
    assert.deepEqual(
      pushed.match(/"sequence": "\d+"/g),
      ["1", "2", "3"].map((n) => `"sequence": "${n}"`),
    );
  });
  await check("grpcurl: a chat", async () => {
    const args = ["-plaintext", "-d", "@", address, "example.Greeter/Chat"];
    const replies = await outputOf(`${FOLDER}grpcurl`, args, `${HELLO}\n{"content":"all"}`);
    assert.deepEqual(replies.match(/Received: \w+/g), ["Received: you", "Received: all"]);
  });
  await check("grpcurl: the status of a call that fails", async () => {
    const asked = ["-H", `x-fail: ${Code.InvalidArgument}`, "-d", HELLO];
    const args = ["-plaintext", ...asked, address, "example.Greeter/SayHello"];
    const { code, stderr } = await run(`${FOLDER}grpcurl`, args);
    assert.equal(code, 64 + Code.InvalidArgument);
    assert.match(stderr, /Code: InvalidArgument/);
    assert(stderr.includes(FAILURE_MESSAGE), stderr);
    // Details whose types it knows by reflection.
    assert.match(stderr, /"reason": "ASKED"/);
    assert.match(stderr, /"reply": "a detail"/);
  });
}

async function probed(server: Server, address: string): Promise<void> {
  const at = ["-addr", address];
  await check("grpc-health-probe: 0 for a server that serves, and for a service", async () => {
    assert.equal((await probe(...at)).code, 0);
    assert.equal((await probe(...at, "-service", "example.Greeter")).code, 0);
  });
  await check("grpc-health-probe: not 0 for a service that is not known", async () => {
    const { code, stderr } = await probe(...at, "-service", "example.Nobody");
    assert.equal(code, 3);
    assert.match(stderr, /NotFound/);
  });
  await check("grpc-health-probe: not 0 for what does not serve", async () => {
    server.health.set(Greeter, "NOT_SERVING");
    assert.equal((await probe(...at, "-service", "example.Greeter")).code, 4);
    assert.equal((await probe(...at)).code, 0);
    server.health.set(Greeter, "SERVING");
  });
  await check(
    "grpc-health-probe: not 0 while the server waits for its balancer to notice",
    async () => {
      const closing = await serve();
      const closed = closing.close({ drainDelayMs: 60_000 });
      assert.equal((await probe("-addr", closing.address)).code, 4);
      await grpcurl("-plaintext", "-d", HELLO, closing.address, "example.Greeter/SayHello");
      await closing.close({ graceMs: 0 });
      await closed;
    },
  );
}

async function overTls(): Promise<void> {
  await using server = await serve({ tls: certs.server });
  const ca = certFile("ca.pem");
  await check("grpcurl and grpc-health-probe over TLS", async () => {
    const { address } = server;
    const reply = await grpcurl("-cacert", ca, "-d", HELLO, address, "example.Greeter/SayHello");
    assert.deepEqual(JSON.parse(reply), { reply: "Hello, you" });
    assert.equal((await probe("-addr", address, "-tls", "-tls-ca-cert", ca)).code, 0);
  });
}

async function authenticated(): Promise<void> {
  await using server = await serve({
    authenticate({ header }) {
      if (header.get("authorization") === TOKEN.slice("authorization: ".length)) {
        return { identity: "ada" };
      }
      throw new ConnectError("who are you?", Code.Unauthenticated);
    },
  });
  const { address } = server;
  await check(
    "a server that authenticates: strangers may ask for its health, and for nothing else",
    async () => {
      assert.equal((await probe("-addr", address)).code, 0);
      const { code, stderr } = await run(`${FOLDER}grpcurl`, ["-plaintext", address, "list"]);
      assert.notEqual(code, 0);
      assert.match(stderr, /who are you\?/);
      assert.match(await grpcurl("-plaintext", "-H", TOKEN, address, "list"), /example\.Greeter/);
    },
  );
}

async function loaded(address: string): Promise<void> {
  await check("ghz without a .proto: 2,000 calls, 20 at a time", async () => {
    const load = ["-n", "2000", "-c", "20", "-d", HELLO, "-O", "json"];
    const args = ["--insecure", "--call", "example.Greeter.SayHello", ...load, address];
    const { count, statusCodeDistribution } = JSON.parse(await outputOf(`${FOLDER}ghz`, args));
    assert.deepEqual(
      { count, statusCodeDistribution },
      { count: 2000, statusCodeDistribution: { OK: 2000 } },
    );
  });
}

async function curled(url: string): Promise<void> {
  const curl = (...args: string[]) => outputOf(BUF, ["curl", "--http2-prior-knowledge", ...args]);
  await check("buf curl --list-services", async () => {
    assert.match(await curl("--list-services", url), /example\.Greeter/);
  });
  for (const protocol of ["grpc", "grpcweb", "connect"]) {
    await check(`buf curl without a schema, by ${protocol}`, async () => {
      const to = [`--protocol=${protocol}`, "-d", HELLO, `${url}/example.Greeter/SayHello`];
      assert.deepEqual(JSON.parse(await curl(...to)), { reply: "Hello, you" });
    });
  }
}
