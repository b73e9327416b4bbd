/** A server of Greeter and of rooms, with a link that can be cut, and the program hawser. */
import { greeter } from "../../examples/greeter/handlers.ts";
import { rooms } from "../../examples/rooms/handlers.ts";
import { RoomService } from "../../gen/chat/v1/room_pb.js";
import { Greeter } from "../../gen/example/greeter_pb.js";
import type { Client } from "../../src/index.ts";
import type { ServerOptions, ServiceImpl } from "../../src/server.ts";
import { startWorld, type World } from "../../src/testing.ts";
import { memoryLog } from "../../src/topics.ts";
import { example, exampleOnTerminal, type Program } from "./program.ts";

export interface CliWorld extends AsyncDisposable, Pick<World, "url" | "link" | "server"> {
  readonly rooms: Client<typeof RoomService>;
  /** Starts `hawser call URL …`. */
  call(...words: string[]): Program;
  /** The same on a terminal. */
  callOnTerminal(...words: string[]): Program;
}

export interface CliSetup {
  /** Handlers of the Greeter; the example's by default. */
  readonly greeter?: Partial<ServiceImpl<typeof Greeter>>;
  readonly server?: Partial<ServerOptions>;
}

export async function startCliWorld(setup: CliSetup = {}): Promise<CliWorld> {
  const log = memoryLog();
  const served = rooms(log);
  const world = await startWorld({
    routes: (router) =>
      router.service(Greeter, setup.greeter ?? greeter).service(RoomService, served.service),
    server: { reflection: true, ...setup.server },
  });
  const { url, link, server } = world;
  return {
    ...{ url, link, server, rooms: world.client(RoomService) },
    call: (...words) => example("hawser", "call", url, ...words),
    callOnTerminal: (...words) => exampleOnTerminal("hawser", "call", url, ...words),
    async [Symbol.asyncDispose]() {
      await world[Symbol.asyncDispose]();
      await served[Symbol.asyncDispose]();
      await log[Symbol.asyncDispose]();
    },
  };
}

/** Waits for the end of a program, and returns its exit code and what it printed. */
export async function result(program: Program) {
  await using running = program;
  const code = await running.ended;
  return { code, stdout: running.stdout, stderr: running.stderr };
}
