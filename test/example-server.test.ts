import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { RoomService } from "../gen/chat/v1/room_pb.js";
import { createClient, createTransport } from "../src/index.ts";
import { example, startExampleServer } from "./support/program.ts";
import { certFile } from "./support/tls.ts";

// Each test starts programs, and a busy machine takes its time for that.
vi.setConfig({ testTimeout: 60_000 });

/** Refuses every user, as a NATS server does. */
async function natsWithoutUsers() {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.write('INFO {"server_id":"x","version":"2.10.0","auth_required":true}\r\n');
    socket.once("data", () => socket.end("-ERR 'Authorization Violation'\r\n"));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    place: `nats://ann:secret@127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.close();
      await once(server, "close");
    },
  };
}

test("the server prints four lines: its address, its page, a command that chats, and one that cuts a chat's connection", async () => {
  await using server = await startExampleServer();
  const { port } = new URL(server.url);
  expect(server.url).toBe(`http://127.0.0.1:${port}`);
  const [where, page, chat, cut, ...rest] = server.stdout.split("\n");
  expect(where).toBe(
    `listening on ${server.url} (rooms are kept in memory, and gone with this process)`,
  );
  expect(page).toMatch(new RegExp(`^${server.url} +# in a browser: `));
  expect(chat).toMatch(/ # in another terminal: chat/);
  expect(chat).toContain(`npm run chat -- --url ${server.url} `);
  expect(cut).toContain(`npm run chat -- --count 20 --cut-every 2s --url ${server.url} `);
  expect(rest).toEqual([""]);
  expect(server.stderr).toBe("");
});

test("the server has a page at /, whose policy allows nothing but its own files and calls", async () => {
  await using server = await startExampleServer();
  const page = await fetch(server.url);
  expect(page.headers.get("content-type")).toBe("text/html; charset=utf-8");
  const html = await page.text();
  for (const [, path = ""] of html.matchAll(/(?:src|href)="(\/[^"]*)"/g)) {
    const { status, headers } = await fetch(new URL(path, server.url));
    expect([path, status]).toEqual([path, 200]);
    expect(headers.get("content-security-policy")).toBe(
      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    );
    expect(headers.get("x-content-type-options")).toBe("nosniff");
  }
  expect(html).not.toMatch(/ style="| on[a-z]+="|<script(?! type="module" src=)/);
  const script = await (await fetch(new URL("/page.js", server.url))).text();
  expect(script).toMatch(/hawser\.h2\.v1/);
  // Names and messages are written by others: nothing may make HTML of them.
  expect(script).not.toMatch(/innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser/);
  expect(await fetch(server.url, { method: "POST" })).toMatchObject({ status: 405 });
  expect(await fetch(new URL("/else", server.url))).toMatchObject({ status: 404 });
  expect(server.stderr).toBe("");
});

test("serve --json prints the URL as JSON", async () => {
  await using server = example("server", "--port", "0", "--log", "memory", "--json");
  const [line] = await server.prints(/^.*\n/);
  const { url } = JSON.parse(line);
  await using hello = example("greeter", "hello", "--url", url);
  expect(await hello.ended).toBe(0);
});

test("a taken port is one clear line and exit code 1", async () => {
  await using first = await startExampleServer();
  const { port, host } = new URL(first.url);
  await using second = example("server", "--port", port, "--log", "memory");
  expect(await second.ended).toBe(1);
  expect(second.stdout).toBe("");
  expect(second.stderr).toMatch(/^server: failed_precondition: .* in use .*: .*another port\n$/);
  expect(second.stderr).toContain(host);
});

test("an address of another machine is one clear line and exit code 1", async () => {
  await using server = example("server", "--host", "192.0.2.1", "--port", "0", "--log", "memory");
  expect(await server.ended).toBe(1);
  expect(server.stderr).toMatch(
    /^server: invalid_argument: .*192\.0\.2\.1.*: choose an address of this machine with --host\n$/,
  );
});

test("Ctrl-C lets a running chat finish, says so, and exits 0", async () => {
  await using server = await startExampleServer();
  await using chat = example("chat", "--url", server.url);
  chat.stdin.write("before\n");
  await chat.prints(/before\n/);

  server.kill("SIGINT");
  await server.complains(
    /^server: closing: 1 open call may finish within 10 s; Ctrl-C again .*\n$/,
  );
  chat.stdin.end("after\n");
  expect(await chat.ended).toBe(0);
  expect(chat.stdout).toMatch(/after\n$/);
  expect(await server.ended).toBe(0);
  expect(server.stderr).toMatch(/\nserver: closed\n$/);
});

test("SIGTERM with --grace 0s ends a running chat with unavailable", async () => {
  await using server = await startExampleServer("--grace", "0s");
  await using chat = example("chat", "--url", server.url);
  chat.stdin.write("before\n");
  await chat.prints(/before\n/);
  server.kill("SIGTERM");
  expect(await server.ended).toBe(0);
  expect(await chat.ended).toBe(1);
  expect(chat.stderr).toMatch(/^chat: unavailable: .*shutting down.*\n$/);
});

test("a Ctrl-C that npm passes on too is not taken for a second one", async () => {
  await using server = await startExampleServer();
  await using chat = example("chat", "--url", server.url);
  chat.stdin.write("before\n");
  await chat.prints(/before\n/);
  server.kill("SIGINT");
  server.kill("SIGINT");
  await server.complains(/closing/);
  chat.stdin.end();
  expect(await chat.ended).toBe(0);
  expect(await server.ended).toBe(0);
});

test("the server serves TLS, with certificates on both sides", async () => {
  const [cert, key, ca] = ["server.pem", "server.key", "ca.pem"].map(certFile) as [
    string,
    string,
    string,
  ];
  const tls = ["--tls-cert", cert, "--tls-key", key, "--tls-ca", ca];
  await using server = await startExampleServer(...tls);
  expect(server.url).toMatch(/^https:/);

  const client = ["--cert", certFile("client.pem"), "--key", certFile("client.key")];
  await using known = example("greeter", "hello", "--url", server.url, "--ca", ca, ...client);
  expect(await known.ended).toBe(0);
  expect(known.stdout).toBe("Server says: Hello, world\n");

  await using uncertified = example("greeter", "hello", "--url", server.url, "--ca", ca);
  expect(await uncertified.ended).toBe(1);
  expect(uncertified.stderr).toMatch(
    /^greeter: unavailable: .* show the server a certificate with --cert, and its key with --key\n$/,
  );

  await using distrustful = example("greeter", "hello", "--url", server.url, ...client);
  expect(await distrustful.ended).toBe(1);
  expect(distrustful.stderr).toMatch(/trust the server's certificate with --ca\n$/);
});

test("TLS files that are not valid are one clear line", async () => {
  const key = certFile("client.key");
  await using server = example("server", "--log", "memory", "--tls-cert", key, "--tls-key", key);
  expect(await server.ended).toBe(1);
  expect(server.stderr).toMatch(
    /^server: invalid_argument: --tls-cert \S+client\.key has no certificate in it, but .*\n$/,
  );
  const [cert, other] = [certFile("server.pem"), certFile("client.key")];
  await using pair = example("server", "--log", "memory", "--tls-cert", cert, "--tls-key", other);
  expect(await pair.ended).toBe(1);
  expect(pair.stderr).toMatch(
    /^server: invalid_argument: --tls-key \S+client\.key does not belong to --tls-cert \S+: .*\n$/,
  );
  const noPem = fileURLToPath(import.meta.url);
  await using client = example("greeter", "hello", "--url", "https://127.0.0.1:1", "--ca", noPem);
  expect(await client.ended).toBe(1);
  expect(client.stderr).toMatch(/^greeter: invalid_argument: --ca \S+ is not a PEM text\n$/);
});

test("the server listens on a Unix socket", async () => {
  const folder = await mkdtemp(join(tmpdir(), "hawser-"));
  try {
    const path = join(folder, "greeter.sock");
    await using server = await startExampleServer("--unix", path);
    expect(server.url).toBe(`unix:${path}`);
    await using hello = example("greeter", "hello", "--url", server.url);
    expect(await hello.ended).toBe(0);

    await using second = example("server", "--unix", path, "--log", "memory");
    expect(await second.ended).toBe(1);
    expect(second.stderr).toMatch(/^server: failed_precondition: .*greeter\.sock is in use.*\n$/);
  } finally {
    await rm(folder, { recursive: true });
  }
});

describe("rooms", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "hawser-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  test("rooms are read again after a restart, from the directory of --data", async () => {
    const data = join(folder, "new", "data");
    const message = { room: "lobby", name: "ann", text: "hi", producer: "p", sequence: 1n };
    const cursors: string[] = [];
    for (const signal of ["SIGKILL", "SIGTERM"] as const) {
      await using server = await startExampleServer("--data", data);
      expect(server.stdout).toContain(`(rooms are kept in ${join(data, "rooms.sqlite")})\n`);
      await using transport = createTransport({ baseUrl: server.url });
      const rooms = createClient(RoomService, transport);
      cursors.push((await rooms.post(message)).cursor);
      server.kill(signal);
      await server.ended;
      expect(server.stderr).toBe(signal === "SIGTERM" ? "server: closing\nserver: closed\n" : "");
    }
    expect(cursors[1]).toBe(cursors[0]);
  });

  test("posts are refused at --max-bytes, and the client and the server say so", async () => {
    const limits = ["--max-bytes", "200KB"];
    await using server = await startExampleServer("--data", join(folder, "full"), ...limits);
    await using post = example("room", "post", "lobby", "--url", server.url, "--name", "ann");
    post.stdin.end(`${"x".repeat(4000)}\n`.repeat(50));
    expect(await post.ended).toBe(1);
    expect(post.stderr).toMatch(
      /^room: resource_exhausted: the server's log has (19\d|200) KB of 200 KB \(maxBytes\): nothing was stored; /,
    );
    const [line] = await server.complains(/^.*\n$/);
    expect(line).toMatch(
      /^server: .*rooms\.sqlite is full at 200 KB \(maxBytes\): .* or raise maxBytes\n$/,
    );
    await using watch = example(
      "room",
      "watch",
      "lobby",
      "--url",
      server.url,
      "--oldest",
      "--count",
      "10",
    );
    expect(await watch.ended).toBe(0);
  });

  test("a room keeps what --keep says", async () => {
    await using server = await startExampleServer("--keep", "1h,3");
    const url = ["--url", server.url];
    await using post = example("room", "post", "lobby", ...url, "--name", "ann");
    post.stdin.end("one\ntwo\nthree\nfour\nfive\n");
    expect(await post.ended).toBe(0);
    await using watch = example("room", "watch", "lobby", ...url, "--oldest", "--count", "3");
    expect(await watch.ended).toBe(0);
    expect(watch.stdout).toBe("* here: nobody\nann: three\nann: four\nann: five\n");
  });

  test("rooms in one file belong to one server: the second prints that in one clear line", async () => {
    const data = join(folder, "shared");
    await using server = await startExampleServer("--data", data);
    await using second = example("server", "--port", "0", "--data", data);
    expect(await second.ended).toBe(1);
    expect(second.stdout).toBe("");
    expect(second.stderr).toMatch(
      /^server: failed_precondition: .*rooms\.sqlite is open in another server: .*\n$/,
    );
    expect(server.stderr).toBe("");
  });

  test("rooms cannot be kept under a file: one clear line says what to do", async () => {
    const file = join(folder, "file");
    await writeFile(file, "");
    await using server = example("server", "--port", "0", "--data", join(file, "data"));
    expect(await server.ended).toBe(1);
    expect(server.stderr).toMatch(
      /^server: failed_precondition: .*ENOTDIR.*: keep rooms elsewhere with --data .*\n$/,
    );
  });

  test("rooms cannot be kept if the folder cannot be made: one clear line says what to do", async () => {
    await using server = example("server", "--port", "0", "--data", "/proc/x/y");
    expect(await server.ended).toBe(1);
    expect(server.stderr).toMatch(
      /^server: failed_precondition: .*\/proc\/x\/y.*: keep rooms elsewhere with --data .*\n$/,
    );
  });

  test("rooms cannot be kept in a file that is a directory: one clear line names the option that may be meant", async () => {
    const data = join(folder, "a directory");
    await mkdir(data);
    await using server = example("server", "--port", "0", "--log", `sqlite:${data}`);
    expect(await server.ended).toBe(1);
    expect(server.stderr).toMatch(/^server: failed_precondition: .* it is a directory: .*\n$/);
    expect(server.stderr).toContain(`--data '${data}'\n`);
  });

  test("rooms cannot be kept in a file that is not a database, which stays unchanged", async () => {
    const file = join(folder, "notes.txt");
    const notes = "no database, but longer than the header of one. ".repeat(10);
    await writeFile(file, notes);
    await using server = example("server", "--port", "0", "--log", `sqlite:${file}`);
    expect(await server.ended).toBe(1);
    expect(server.stderr).toMatch(/^server: data_loss: .*notes\.txt .* move .*\n$/);
    expect(await readFile(file, "utf8")).toBe(notes);
  });

  test("rooms cannot be kept in a NATS that does not know the user: one clear line says how to give one", async () => {
    await using nats = await natsWithoutUsers();
    await using server = example("server", "--port", "0", "--log", nats.place);
    expect(await server.ended).toBe(1);
    expect(server.stderr).toMatch(
      /^server: unavailable: .*Authorization Violation: .* nats:\/\/USER:PASSWORD@HOST:PORT\n$/,
    );
    expect(server.stderr).not.toContain("secret");
  });

  test("rooms cannot be kept in a NATS that does not answer: one clear line names it without its password", async () => {
    const place = "nats://ann:secret@127.0.0.1:1";
    await using server = example("server", "--port", "0", "--log", place);
    expect(await server.ended).toBe(1);
    expect(server.stderr).toMatch(
      /^server: unavailable: no NATS at 127\.0\.0\.1:1\b.*: start it with JetStream .*\n$/,
    );
    expect(server.stderr).not.toContain("secret");
  });
});
