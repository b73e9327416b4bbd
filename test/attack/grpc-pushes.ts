/** Pushes of 64 KiB to gRPC's own implementations, with their defaults. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { BIN, buildGo, buildPython, hasGo, hasPython, make } from "../interop/programs.ts";
import { verdict } from "./verdict.ts";

interface Receiver {
  readonly name: string;
  /** What is missing on this machine to run it. */
  readonly lack: string | undefined;
  /** If this environment variable is 1, it is a failure to leave this receiver out. */
  readonly requiredBy: string;
  /** Makes the program, and returns its command line. It receives 2,000 pushes from the address that is added to it. */
  make(): Promise<string[]>;
}

const GRPCIO = fileURLToPath(new URL("../http2/transcripts/peers/client.py", import.meta.url));
const JAVA = fileURLToPath(new URL("./java/", import.meta.url));

const receivers: Receiver[] = [
  {
    name: "grpc-go",
    lack: hasGo() ? undefined : "there is no `go` on the PATH",
    requiredBy: "HAWSER_REQUIRE_GO",
    async make() {
      await buildGo();
      return [`${BIN}transcript`];
    },
  },
  {
    name: "grpc-java",
    lack: lackOfJava(),
    requiredBy: "HAWSER_REQUIRE_JAVA",
    make: makeJava,
  },
  {
    name: "grpcio",
    lack: hasPython() ? undefined : "test/interop/README.md says how to install it",
    requiredBy: "HAWSER_REQUIRE_PYTHON",
    async make() {
      await buildPython();
      return [`${BIN}venv/bin/python`, GRPCIO];
    },
  },
];

export async function tryGrpcPushes(port: number): Promise<void> {
  for (const { name, lack, requiredBy, make } of receivers) {
    const what = `2,000 pushes of 64 KiB to ${name}`;
    if (lack === undefined) {
      verdict(await receives(await make(), port), what);
    } else if (process.env[requiredBy] === "1") {
      verdict(false, `${what}: ${lack}`);
    } else {
      console.log(`SKIP ${what}: ${lack}`);
    }
  }
}

async function receives(command: string[], port: number): Promise<boolean> {
  const [program = "", ...args] = [...command, `127.0.0.1:${port}`, "pushes"];
  const env = { ...process.env, PYTHONPATH: `${BIN}python` };
  const child = spawn(program, args, { env, stdio: ["ignore", "ignore", "inherit"] });
  const [code] = await once(child, "close");
  return code === 0;
}

/** A JDK, and Maven for the jars. */
function lackOfJava(): string | undefined {
  for (const program of ["javac", "mvn"]) {
    try {
      execFileSync(program, ["-version"], { stdio: "ignore" });
    } catch {
      return `there is no \`${program}\` on the PATH`;
    }
  }
  return undefined;
}

/** Has Maven fetch the jars; Java itself compiles a program of one file when it starts it. */
async function makeJava(): Promise<string[]> {
  mkdirSync(BIN, { recursive: true });
  const classPath = `${BIN}java-class-path`;
  const quietly = ["--batch-mode", "--quiet", "--strict-checksums"];
  const goal = ["dependency:build-classpath", `-Dmdep.outputFile=${classPath}`];
  await make("mvn", [...quietly, ...goal], { cwd: JAVA });
  return ["java", "-cp", readFileSync(classPath, "utf8"), `${JAVA}Pushes.java`];
}
