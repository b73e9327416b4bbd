/** `npm run interop`: grpc-go and grpcio against Hawser, both ways round, and Hawser with nginx in the middle. Needs Go. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { goClientAgainstOurs } from "./go-client.ts";
import { grpcGoClientAgainstOurs, oursAgainstGrpcGoServer } from "./grpc-go.ts";
import { installSuite } from "./grpc-go-programs.ts";
import { throughNginx } from "./nginx.ts";
import { oursAgainstGoServer } from "./our-client.ts";
import { buildGo, buildPython, endPrograms, hasGo, hasPython } from "./programs.ts";
import { oursAgainstPython, pythonAgainstOurs } from "./python.ts";
import { fail, summary } from "./report.ts";

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

/** What is run, in this order; arguments choose some of it by name. */
const parts: Record<string, () => Promise<void>> = {
  async go() {
    await buildGo();
    await goClientAgainstOurs(directory);
    await oursAgainstGoServer(directory);
  },
  async "grpc-go"() {
    await installSuite();
    await grpcGoClientAgainstOurs();
    await oursAgainstGrpcGoServer();
  },
  async python() {
    if (hasPython()) {
      await buildPython();
      await pythonAgainstOurs();
      await oursAgainstPython();
    } else if (process.env.HAWSER_REQUIRE_PYTHON === "1") {
      fail("Python", "grpcio is not there: README.md in this folder says how to install it");
    } else console.log("grpcio is not there: Python is left out (see README.md in this folder)");
  },
  nginx: () => throughNginx(directory),
};

const chosen = process.argv.slice(2);
const unknown = chosen.filter((name) => !(name in parts));
if (unknown.length > 0) {
  console.error(`no part "${unknown[0]}": choose among ${Object.keys(parts).join(", ")}`);
  process.exit(1);
}

try {
  for (const [name, run] of Object.entries(parts)) {
    if (chosen.length === 0 || chosen.includes(name)) await run();
  }
} catch (error) {
  fail("the run", error);
}
await end(summary() ? 0 : 1);
