/**
 * `npm run interop`: grpc-go and grpcio against Hawser, both ways round, Hawser with proxies in the middle, and the tools of
 * others. Needs Go. `npm run interop -- python haproxy` runs two of the parts, `npm run interop -- --all` more of the tools.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { goClientAgainstOurs, goServerPings, oursAgainstGoServer } from "./go.ts";
import { grpcGoClientAgainstOurs, oursAgainstGrpcGoServer } from "./grpc-go.ts";
import { installSuite } from "./grpc-go-programs.ts";
import { haproxyFaults, throughHaproxy } from "./haproxy.ts";
import { lackOfHaproxy } from "./haproxy-process.ts";
import { throughNginx } from "./nginx.ts";
import { buildGo, buildPython, endPrograms, hasGo, hasPython } from "./programs.ts";
import {
  longSilenceOfPython,
  oursAgainstPython,
  pythonAgainstOurs,
  pythonPings,
} from "./python.ts";
import { fail, summary } from "./report.ts";
import { tools } from "./tools.ts";
import { oursThroughPipe } from "./web-socket.ts";

if (!hasGo()) {
  console.error("interop needs Go, and there is no `go` on the PATH: install Go 1.26 or later");
  process.exit(1);
}

const directory = await mkdtemp(join(tmpdir(), "hawser-interop-"));

async function end(exitCode: number): Promise<never> {
  endPrograms();
  await rm(directory, { recursive: true, force: true });
  process.exit(exitCode);
}

process.on("SIGINT", () => void end(130));
process.on("SIGTERM", () => void end(143));

interface Part {
  run(): Promise<void>;
  /** What mostly waits and measures times: runs when all else has ended, at the same time as that of the other parts. */
  waits?(): Promise<void>;
}

const go: Part = {
  async run() {
    await buildGo();
    await goClientAgainstOurs(directory);
    await oursAgainstGoServer(directory);
  },
  waits: goServerPings,
};

const webSocket: Part = {
  async run() {
    await buildGo();
    await oursThroughPipe();
  },
};

const grpcGo: Part = {
  async run() {
    await installSuite();
    await grpcGoClientAgainstOurs();
    await oursAgainstGrpcGoServer();
  },
};

const withPython: Part = {
  async run() {
    await buildPython();
    await Promise.all([
      longSilenceOfPython(),
      (async () => {
        await pythonAgainstOurs();
        await oursAgainstPython();
      })(),
    ]);
  },
  waits: pythonPings,
};

/** Says that it is left out; that is a failure if the variable, which CI sets, is 1. */
function without(what: string, lack: string, variable: string): Part {
  return {
    async run() {
      if (process.env[variable] === "1") fail(what, lack);
      else console.log(`SKIP ${what}: ${lack}`);
    },
  };
}

function python(): Part {
  const lack = "grpcio is not there: README.md in this folder says how to install it";
  return hasPython() ? withPython : without("Python", lack, "HAWSER_REQUIRE_PYTHON");
}

function haproxy(): Part {
  const lack = lackOfHaproxy();
  if (lack !== undefined) return without("HAProxy", lack, "HAWSER_REQUIRE_HAPROXY");
  return { run: () => throughHaproxy(directory), waits: () => haproxyFaults(directory) };
}

const words = process.argv.slice(2);
const all = words.includes("--all");

/** Arguments choose some of them by name. */
const parts: Record<string, Part> = {
  go,
  "grpc-go": grpcGo,
  python: python(),
  haproxy: haproxy(),
  "web-socket": webSocket,
  tools: { run: () => tools(all) },
  nginx: { run: () => throughNginx(directory) },
};

/** The parts of a lane run one after the other, the lanes at the same time: two, of similar length, for two processors. */
const LANES = [["go", "web-socket", "grpc-go", "tools", "haproxy", "nginx"], ["python"]];

const chosen = words.filter((word) => word !== "--all");
const unknown = chosen.filter((name) => !(name in parts));
if (unknown.length > 0) {
  console.error(`no part "${unknown[0]}": choose among ${Object.keys(parts).join(", ")}`);
  process.exit(1);
}

try {
  const isChosen = (name: string) => chosen.length === 0 || chosen.includes(name);
  const lane = async (names: string[]) => {
    for (const name of names.filter(isChosen)) await parts[name]?.run();
  };
  await Promise.all(LANES.map(lane));
  await Promise.all(
    Object.keys(parts)
      .filter(isChosen)
      .map((name) => parts[name]?.waits?.()),
  );
} catch (error) {
  fail("the run", error);
}
await end(summary() ? 0 : 1);
