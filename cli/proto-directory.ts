import { execFile } from "node:child_process";
import { stat } from "node:fs/promises";
import { delimiter, join, resolve } from "node:path";
import {
  createFileRegistry,
  type DescService,
  type FileRegistry,
  fromBinary,
} from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "hawser";
import { usageError } from "../examples/terminal/command.ts";
import { systemCode } from "../examples/terminal/report.ts";
import type { Contract } from "./contract.ts";

/** The most that buf may print: a description of more .proto files than a project has. */
const LONGEST_OUTPUT_BYTES = 256 * 1024 * 1024;

/**
 * Reads the contract in a directory by compiling it with buf, which must be installed: in the directory's project, in this
 * one, or on the PATH. A buf.yaml in the directory is respected.
 */
export async function readProtoDirectory(directory: string): Promise<Contract> {
  const descriptors = fromBinary(FileDescriptorSetSchema, await compile(directory));
  const registry = createFileRegistry(descriptors);
  const services = servicesOf(registry);
  return {
    source: directory,
    serviceNames: async () => services.map(({ typeName }) => typeName),
    async describe(name) {
      const service = registry.getService(name);
      return service && { service, registry };
    },
  };
}

function servicesOf(registry: FileRegistry): DescService[] {
  return [...registry]
    .filter((type) => type.kind === "service")
    .sort((a, b) => (a.typeName < b.typeName ? -1 : 1));
}

/** Returns a FileDescriptorSet as bytes. */
async function compile(directory: string): Promise<Uint8Array> {
  const isDirectory = await stat(directory).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (!isDirectory) throw usageError(`--proto ${directory} is not a directory: check the path`);
  const programs = [directory, "."].map((folder) => resolve(folder, join("node_modules", ".bin")));
  const env = { ...process.env, PATH: [...programs, process.env.PATH].join(delimiter) };
  return new Promise((resolved, reject) => {
    execFile(
      "buf",
      ["build", "--as-file-descriptor-set", "--output", "-"],
      {
        ...{ cwd: directory, env, encoding: "buffer", maxBuffer: LONGEST_OUTPUT_BYTES },
        // There buf is a .cmd file.
        shell: process.platform === "win32",
      },
      (error, stdout, stderr) => {
        if (error === null) resolved(stdout);
        else if (systemCode(error) === "ENOENT") reject(withoutBuf());
        else reject(new ConnectError(complaintOf(directory, `${stderr}`), Code.InvalidArgument));
      },
    );
  });
}

function withoutBuf(): ConnectError {
  return new ConnectError(
    "--proto needs buf, which compiles .proto files: npm install --save-dev @bufbuild/buf",
    Code.FailedPrecondition,
  );
}

/** Returns what buf says of the files, a complaint each line, in one line. */
function complaintOf(directory: string, stderr: string): string {
  const complaints = stderr.trim().split("\n");
  return `buf cannot compile ${directory}: ${complaints.join("; ")}`;
}
