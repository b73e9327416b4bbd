import { Code, ConnectError } from "hawser";
import { RoomService } from "hawser/gen/chat/v1/room_pb.js";
import { Greeter } from "hawser/gen/example/greeter_pb.js";
import { type Authenticate, createServer, type Logger, type Server } from "hawser/server";
import { greeter } from "../greeter/handlers.ts";
import { type Rooms, rooms } from "../rooms/handlers.ts";
import { command } from "../terminal/command.ts";
import { readPem } from "../terminal/input.ts";
import { printLine } from "../terminal/output.ts";
import { jsonFlag, option, type Values } from "../terminal/parameter.ts";
import { report, systemCode } from "../terminal/report.ts";
import { readDuration, readPort } from "../terminal/values.ts";
import { closeOnSignal } from "./close-on-signal.ts";
import { nextSteps } from "./next-steps.ts";
import {
  describePlace,
  inDirectory,
  type LogPlace,
  openLog,
  readDirectory,
  readKeep,
  readLog,
  readMaxBytes,
} from "./open-log.ts";
import { hasPages, servePages } from "./pages.ts";
import { listenRemedy, logRemedy } from "./remedies.ts";
import { serverLog } from "./server-log.ts";
import { ofFiles, readTls, replaceTlsOnHangup, type ServerTls } from "./tls.ts";

const serveOptions = {
  host: option("<address>", "the address to listen on", { otherwise: "127.0.0.1" }),
  port: option("<number>", "the port to listen on; 0 picks a free one", {
    read: readPort,
    otherwise: 50051,
  }),
  unix: option("<path>", "listen on a unix socket instead", { excludes: ["host", "port"] }),
  data: option("<directory>", "where the rooms keep their messages", {
    read: readDirectory,
    otherwise: "./data",
  }),
  log: option("<place>", "keep them there: memory, sqlite:PATH or nats://HOST:PORT", {
    read: readLog,
    excludes: ["data"],
  }),
  keep: option("<limit>", "what each room keeps: an age, a number of messages, both, or all", {
    read: readKeep,
    otherwise: { ageMs: 30 * 86_400_000 },
    shown: "30d",
  }),
  maxBytes: option("<size>", "what all rooms may use before posts are refused, or none", {
    read: readMaxBytes,
    otherwise: 1e9,
    shown: "1GB",
  }),
  tlsCert: option("<file>", "serve https with this certificate, PEM"),
  tlsKey: option("<file>", "the key of --tls-cert, PEM"),
  tlsCa: option("<file>", "ask clients for a certificate of this authority, PEM"),
  jwtKey: option("<file>", "serve only callers with a JSON Web Token of this public key, PEM"),
  grace: option("<duration>", "how long running calls may continue at the end", {
    read: readDuration,
    otherwise: 10_000,
    shown: "10s",
  }),
  json: jsonFlag,
};

type ServeOptions = Values<typeof serveOptions>;

export const serve = command({
  program: "server",
  usage: "npm start --",
  about: "Serves the example Greeter and chat rooms until Ctrl-C or SIGTERM.",
  options: serveOptions,
  more: `
Examples:
  $ npm start
  $ npm start -- --host 0.0.0.0 --port 8080
  $ npm start -- --unix /tmp/greeter.sock
  $ npm start -- --keep 7d,10000 --max-bytes 20GB
  $ npm start -- --log nats://127.0.0.1:4222    rooms that several servers share
  $ npm start -- --tls-cert cert.pem --tls-key key.pem

Open its address in a browser, too: there is a page with the rooms, and a chat.

Ctrl-C or SIGTERM closes it: it takes no more calls, and lets running ones
finish for at most --grace. While chats of Hawser clients run it keeps its
port, so that they can continue over a new connection: start the next server
there when this one has said "closed". SIGHUP reads the files of --tls-cert,
--tls-key and --tls-ca again.`,
  async run(options) {
    const { json, unix, grace: graceMs } = options;
    try {
      const tls = await readTls(options);
      const authenticate = await readAuthenticate(options);
      const place = options.log ?? inDirectory(options.data);
      const logger = serverLog({ json });
      const chat = await openRooms(place, { ...options, logger });
      if (chat === undefined) return;
      const parts = { tls, authenticate, chat, logger };
      const server = await startListening(options, parts).catch(async (error) => {
        await chat[Symbol.asyncDispose]();
        throw error;
      });
      if (tls !== undefined) replaceTlsOnHangup(server, options, { json });
      closeOnSignal(server, {
        graceMs,
        json,
        afterwards: async () => await chat[Symbol.asyncDispose](),
      });
      await printLine(
        json
          ? JSON.stringify({ url: server.url })
          : `listening on ${server.url} (${describePlace(place)})\n` +
              nextSteps(server.url, { tls, certificate: options.tlsCert, hasPages: hasPages() }),
      );
    } catch (error) {
      if (systemCode(error) === "EPIPE") return;
      report(error, { json, remedy: listenRemedy(error, unix) });
    }
  },
});

/** Opens the log and the rooms that are kept in it. If the log cannot be opened, reports that and returns `undefined`. */
async function openRooms(
  place: LogPlace,
  { keep: retention, maxBytes, json, logger }: ServeOptions & { readonly logger: Logger },
): Promise<Rooms | undefined> {
  try {
    const log = await openLog(place, { retention, maxBytes, logger });
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

/** Reads the key of --jwt-key. Only a server that needs tokens loads the package that verifies them. */
async function readAuthenticate({ jwtKey }: ServeOptions): Promise<Authenticate | undefined> {
  const key = await readPem(jwtKey);
  if (key === undefined) return undefined;
  const { authenticateByJwt } = await import("../authenticate/jwt.ts");
  try {
    return authenticateByJwt({ key });
  } catch (error) {
    const what = `--jwt-key ${jwtKey} is no public key as PEM`;
    throw new ConnectError(what, Code.InvalidArgument, undefined, undefined, error);
  }
}

async function startListening(
  options: ServeOptions,
  parts: ServerParts,
): Promise<Server & { url: string }> {
  const server = makeServer(options, parts);
  const { host, port, unix: path } = options;
  const { url } = await server.listen(path === undefined ? { host, port } : { path });
  return Object.assign(server, { url });
}

/** What a server is made of, after all files were read. */
interface ServerParts {
  readonly tls: ServerTls | undefined;
  readonly authenticate: Authenticate | undefined;
  readonly chat: Rooms;
  readonly logger: Logger;
}

function makeServer(
  options: ServeOptions,
  { tls, authenticate, logger, chat: { service } }: ServerParts,
): Server {
  try {
    return createServer({
      routes: (router) => router.service(Greeter, greeter).service(RoomService, service),
      tls,
      authenticate,
      logger,
      health: true,
      reflection: true,
      ...(hasPages() && { webSocket: {}, fallback: servePages() }),
    });
  } catch (error) {
    throw ofFiles(error, options);
  }
}
