import { X509Certificate } from "node:crypto";
import { statSync } from "node:fs";
import { Command, InvalidArgumentError, Option } from "commander";
import { RoomService } from "hawser/gen/chat/v1/room_pb.js";
import { Greeter } from "hawser/gen/example/greeter_pb.js";
import { Code, ConnectError, createServer, type Server } from "hawser/server";
import { greeter } from "./greeter/handlers.ts";
import { type Rooms, rooms } from "./rooms/handlers.ts";
import {
  describePlace,
  inDirectory,
  type LogPlace,
  openLog,
  readLogPlace,
} from "./server/open-log.ts";
import { serverLog } from "./server/server-log.ts";
import { aboutPem, readPem } from "./terminal/input.ts";
import { EXIT_CODE, type Interrupt } from "./terminal/interruption.ts";
import { invocation } from "./terminal/invocation.ts";
import { printLine } from "./terminal/output.ts";
import { report, systemCode } from "./terminal/report.ts";
import { jsonOption, readDuration, readPort } from "./terminal/values.ts";

const DEFAULT_HOST = "127.0.0.1";
const DEFAULT_PORT = 50051;
const DEFAULT_DATA = "./data";

interface ServeOptions {
  host: string;
  port: number;
  unix?: string;
  data: string;
  log?: LogPlace;
  tlsCert?: string;
  tlsKey?: string;
  tlsCa?: string;
  grace: number;
  json?: boolean;
}

export const serve = new Command("serve")
  .description("Serves the example Greeter and chat rooms until Ctrl-C or SIGTERM.")
  .option("--host <address>", "the address to listen on", DEFAULT_HOST)
  .addOption(
    new Option("--port <number>", "the port to listen on; 0 picks a free one")
      .argParser(readPort)
      .default(DEFAULT_PORT),
  )
  .addOption(
    new Option("--unix <path>", "listen on a unix socket instead").conflicts(["host", "port"]),
  )
  .addOption(
    new Option("--data <directory>", "where the rooms keep their messages")
      .argParser(readDirectory)
      .default(DEFAULT_DATA),
  )
  .addOption(
    new Option("--log <place>", "keep them there: memory, sqlite:PATH or nats://HOST:PORT")
      .argParser(readLog)
      .conflicts("data"),
  )
  .option("--tls-cert <file>", "serve https with this certificate, PEM")
  .option("--tls-key <file>", "the key of --tls-cert, PEM")
  .option("--tls-ca <file>", "ask clients for a certificate of this authority, PEM")
  .addOption(
    new Option("--grace <duration>", "how long running calls may go on at the end")
      .argParser(readDuration)
      .default(10_000, "10s"),
  )
  .addOption(jsonOption())
  .addHelpText(
    "after",
    `
Examples:
  $ hawser serve
  $ hawser serve --host 0.0.0.0 --port 8080
  $ hawser serve --unix /tmp/greeter.sock
  $ hawser serve --log nats://127.0.0.1:4222    rooms that several servers share
  $ hawser serve --tls-cert cert.pem --tls-key key.pem

Ctrl-C or SIGTERM closes it: it takes no more calls, and lets running ones
finish for at most --grace. While chats of Hawser clients run it keeps its
port, so that they can come back over a new connection: start the next server
there when this one has said "closed".`,
  )
  .action(async (options: ServeOptions) => {
    try {
      const tls = await readTls(options);
      const place = options.log ?? inDirectory(options.data);
      const chat = await openRooms(place, options);
      if (chat === undefined) return;
      const server = await listening(options, tls, chat).catch(async (error) => {
        await chat[Symbol.asyncDispose]();
        throw error;
      });
      closeOnSignal(server, chat, options);
      await printLine(
        options.json
          ? JSON.stringify({ url: server.url })
          : `listening on ${server.url}\n${describePlace(place)}\n` +
              whatNext(reachable(server.url), options, tls),
      );
    } catch (error) {
      if (systemCode(error) !== "EPIPE") {
        report(error, { json: options.json, remedy: remedy(error, options) });
      }
    }
  });

function readDirectory(text: string): string {
  if (text !== "") return text;
  throw new InvalidArgumentError("Write the path of a directory, such as ./data.");
}

function readLog(text: string): LogPlace {
  const place = readLogPlace(text);
  if (place !== undefined && (place.kind !== "nats" || isAddress(place.servers))) return place;
  throw new InvalidArgumentError(
    text.startsWith("nats:")
      ? "Write nats://HOST:PORT, or nats://USER:PASSWORD@HOST:PORT with % as %25, @ as %40 and / as %2F."
      : "Write memory, sqlite:PATH or nats://HOST:PORT, such as sqlite:rooms.sqlite.",
  );
}

/** Whether it names a server, and who logs in there; a path would be left out in silence. */
function isAddress(url: string): boolean {
  const { username, password, pathname, search, hash } = new URL(url);
  try {
    decodeURIComponent(username);
    decodeURIComponent(password);
  } catch {
    return false;
  }
  return /^\/?$/.test(pathname) && search === "" && hash === "";
}

/** The rooms on their log, which closes with them; `undefined` where it cannot be opened, which is reported. */
async function openRooms(place: LogPlace, { json }: ServeOptions): Promise<Rooms | undefined> {
  try {
    const log = await openLog(place, serverLog({ json }));
    const chat = rooms(log);
    return {
      service: chat.service,
      async [Symbol.asyncDispose]() {
        await chat[Symbol.asyncDispose]();
        await log[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    report(error, { json, remedy: logRemedy(error, place) });
    return undefined;
  }
}

/** What the user can do when a log cannot be opened, where the message leaves that open. */
function logRemedy(error: unknown, place: LogPlace): string | undefined {
  const { code, rawMessage } = ConnectError.from(error);
  if (/npm install/.test(rawMessage)) {
    return "without it, keep rooms in memory with --log memory";
  }
  if (place.kind === "nats") {
    if (/authorization|authentication/i.test(rawMessage)) {
      return "give a user and password that it knows: nats://USER:PASSWORD@HOST:PORT";
    }
    return code === Code.Unavailable
      ? "start it with JetStream (nats-server -js), or keep rooms elsewhere with --log or --data"
      : undefined;
  }
  const cannotOpen = /cannot be opened/.test(rawMessage);
  if (cannotOpen && place.kind === "sqlite" && isDirectory(place.path)) {
    const data = `--data ${shellWord(place.path)}`;
    return `it is a directory: name a file in it, or keep rooms in it with ${data}`;
  }
  return code === Code.Unavailable || cannotOpen
    ? "keep rooms elsewhere with --data or --log, or in memory with --log memory"
    : undefined;
}

function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

async function listening(
  options: ServeOptions,
  tls: ServerTls | undefined,
  chat: Rooms,
): Promise<Server & { url: string }> {
  const server = makeServer(options, tls, chat);
  const { host, port, unix: path } = options;
  const { url } = await server.listen(path === undefined ? { host, port } : { path });
  return Object.assign(server, { url });
}

interface ServerTls {
  cert: string;
  key: string;
  ca?: string | undefined;
  requestClientCertificate: boolean;
}

async function readTls({ tlsCert, tlsKey, tlsCa }: ServeOptions): Promise<ServerTls | undefined> {
  const cert = await readPem(tlsCert);
  const key = await readPem(tlsKey);
  const ca = await readPem(tlsCa);
  if (cert === undefined && key === undefined && ca === undefined) return undefined;
  if (cert === undefined || key === undefined) {
    throw new ConnectError(
      "TLS needs a certificate and its key: give --tls-cert and --tls-key",
      Code.InvalidArgument,
    );
  }
  return { cert, key, ca, requestClientCertificate: ca !== undefined };
}

function makeServer(
  { tlsCert, tlsKey, tlsCa }: ServeOptions,
  tls: ServerTls | undefined,
  { service }: Rooms,
): Server {
  try {
    return createServer({
      routes: (router) => router.service(Greeter, greeter).service(RoomService, service),
      tls,
    });
  } catch (error) {
    throw aboutPem(error, {
      ca: `--tls-ca ${tlsCa}`,
      cert: `--tls-cert ${tlsCert}`,
      key: `--tls-key ${tlsKey}`,
    });
  }
}

/** What the user can do when the server cannot listen, where the message leaves that open. */
function remedy(error: unknown, { unix }: ServeOptions): string | undefined {
  switch (systemCode(error)) {
    case "EACCES":
    case "ENOENT":
    case "EINVAL":
      return unix === undefined
        ? "choose a port above 1023 with --port"
        : "choose another path with --unix";
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return "choose an address of this machine with --host";
    default:
      return undefined;
  }
}

/** What a client on this machine calls: a wildcard address is none to connect to. */
function reachable(url: string): string {
  return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:");
}

function whatNext(url: string, options: ServeOptions, tls: ServerTls | undefined): string {
  const flags = url === `http://${DEFAULT_HOST}:${DEFAULT_PORT}` ? [] : ["--url", url];
  if (tls !== undefined) flags.push("--ca", selfSigned(tls.cert) ? `${options.tlsCert}` : "CA.pem");
  if (tls?.ca !== undefined) flags.push("--cert", "CLIENT.pem", "--key", "CLIENT-KEY.pem");
  const lines: [command: "chat" | "room", words: string[], what: string][] = [
    ["chat", ["--count", "5"], "five messages"],
    ["chat", [], "type them yourself"],
    ["room", ["join", "lobby", "--name", "ada"], "talk with those who are there"],
  ];
  const typed = lines.map(([command, words]) =>
    invocation(command, [...words, ...flags].map(shellWord).join(" ")),
  );
  const width = Math.max(...typed.map((command) => command.length));
  return [
    "try in another terminal:",
    ...typed.map((command, n) => `  ${command.padEnd(width)}   # ${lines[n]?.[2]}`),
  ].join("\n");
}

function selfSigned(pem: string): boolean {
  const certificate = new X509Certificate(pem);
  return certificate.checkIssued(certificate);
}

function shellWord(word: string): string {
  return /^[\w@%+=:,./[\]-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** One Ctrl-C can come twice: from the terminal, and from npm, which passes it on. */
const SAME_PRESS_MS = 500;

/** The first signal lets running calls finish; the second ends the process at once. */
function closeOnSignal(server: Server, chat: Rooms, { grace: graceMs, json }: ServeOptions): void {
  let firstAt: number | undefined;
  const say = (text: string) => {
    if (!json) process.stderr.write(`hawser: ${text}\n`);
  };
  const stop = async (signal: Interrupt) => {
    if (firstAt !== undefined) {
      if (performance.now() - firstAt >= SAME_PRESS_MS) process.exit(EXIT_CODE[signal]);
      return;
    }
    firstAt = performance.now();
    const calls = server.openCalls;
    say(
      calls === 0
        ? "closing"
        : `closing: ${calls} open call${calls === 1 ? "" : "s"} may finish within ${graceMs / 1000} s; ` +
            "Ctrl-C again ends at once",
    );
    try {
      await server.close({ graceMs });
      await chat[Symbol.asyncDispose]();
      say("closed");
    } catch (error) {
      report(error, { json });
    }
  };
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
}
