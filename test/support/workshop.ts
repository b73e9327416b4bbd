/**
 * A folder outside the repository, where tests follow README.md and docs/: make the package, install it, write programs
 * and run them. Only the Node of the repository is on the PATH.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, mkdtemp, readFile, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { freePort } from "./free-port.ts";
import { type Block, blocks, outputOf } from "./readme.ts";

export const repository = fileURLToPath(new URL("../..", import.meta.url)).replace(/[/\\]$/, "");

/** The folders that a copy of the repository leaves out: outputs, and those of git. */
const NOT_COPIED = new Set(["node_modules", "dist", "templates", ".git", ".cache"]);

/** A program that runs until it is disposed, with the workshop at the latest. */
export interface Server extends AsyncDisposable {
  /** The output until the program was ready. */
  readonly printed: string;
}

export interface Workshop extends AsyncDisposable {
  readonly folder: string;
  /** The program runs in a folder of the workshop; resolves with what it printed, rejects if it fails. */
  run(project: string, ...command: [program: string, ...args: string[]]): Promise<string>;
  /** Starts a command of the shell that keeps running; resolves when its output says that it is up, or it has ended. */
  serve(project: string, command: string, isUp: (printed: string) => boolean): Promise<Server>;
  /** Does what README.md and docs/ say of a project: writes the files, types the commands, compares what they print. */
  follow(project: string): Promise<void>;
}

/** Opens a workshop with a copy of the repository in it, as `hawser`. */
export async function openWorkshop(): Promise<Workshop> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), "hawser-workshop-")));
  const copy = join(folder, "hawser");
  await cp(repository, copy, {
    recursive: true,
    filter: (path) => !NOT_COPIED.has(path.slice(repository.length + 1)),
  });
  await symlink(join(repository, "node_modules"), join(copy, "node_modules"));
  await mkdir(join(folder, "bin"));
  await symlink(process.execPath, join(folder, "bin", "node"));

  const env = environment(join(folder, "bin"));
  const servers: Server[] = [];
  const running = new Set<ChildProcess>();
  const within = (project: string) => join(folder, project);

  /** Starts a program in its own process group, so that what npm or a shell starts ends with it. */
  const start = (project: string, program: string, ...args: string[]) =>
    spawn(program, args, { cwd: within(project), env, detached: true });

  async function run(project: string, ...command: [string, ...string[]]): Promise<string> {
    const child = start(project, ...command);
    running.add(child);
    child.once("close", () => running.delete(child));
    child.stdin.end();
    const [stdout, stderr, [code]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, "close"),
    ]);
    if (code === 0) return stdout;
    throw new Error(`${command.join(" ")}: exit code ${code}\n${stdout}${stderr}`);
  }

  async function serve(
    project: string,
    command: string,
    isUp: (printed: string) => boolean,
  ): Promise<Server> {
    const child = start(project, "sh", "-c", command);
    const exited = once(child, "exit");
    child.stderr.resume();
    let printed = "";
    const output = child.stdout.setEncoding("utf8").iterator({ destroyOnReturn: false });
    for await (const chunk of output) {
      printed += chunk;
      if (isUp(printed)) break;
    }
    const server = {
      printed,
      async [Symbol.asyncDispose]() {
        if (child.exitCode === null && child.signalCode === null) {
          process.kill(-(child.pid as number), "SIGKILL");
        }
        await exited;
      },
    };
    servers.push(server);
    return server;
  }

  /** Types the commands of a block; what they print must be what the page says. */
  async function type(project: string, block: Block, port: number): Promise<void> {
    const said = outputOf(block)?.replaceAll("50051", `${port}`);
    const commands = block.code.trim().replaceAll("50051", `${port}`).split("\n");
    let printed = "";
    for (const [i, command] of commands.entries()) {
      if (block.serves && i === commands.length - 1) {
        const isUp = (output: string) => output.length >= (said?.length ?? 0);
        printed += (await serve(project, command, isUp)).printed;
      } else {
        printed += await run(project, "sh", "-c", command);
      }
    }
    if (said === undefined || printed === said) return;
    throw new Error(
      `${block.page}, line ${block.line}, should print\n${said}but prints\n${printed}`,
    );
  }

  return {
    folder,
    run,
    serve,

    async follow(project) {
      // The pages have their servers on 50051; tests that run at the same time need other ports.
      const port = await freePort();
      for (const block of blocks) {
        if (block.file?.startsWith(`${project}/`)) {
          await mkdir(dirname(within(block.file)), { recursive: true });
          await writeFile(within(block.file), block.code.replaceAll("50051", `${port}`));
        } else if (block.made?.startsWith(`${project}/`)) {
          const made = await readFile(within(block.made), "utf8");
          if (made !== block.code)
            throw new Error(`${block.made} is not as ${block.page} prints it:\n${made}`);
          await writeFile(within(block.made), made.replaceAll("50051", `${port}`));
        } else if (block.in === project) await type(project, block, port);
      }
    },

    async [Symbol.asyncDispose]() {
      for (const server of servers) await server[Symbol.asyncDispose]();
      // The program of a test that timed out still runs.
      for (const child of running) process.kill(-(child.pid as number), "SIGKILL");
      await Promise.all([...running].map((child) => once(child, "close")));
      await rm(folder, { recursive: true });
    },
  };
}

/** How npm gets packages on this machine. */
const OF_THE_MACHINE =
  /^(NODE_EXTRA_CA_CERTS|npm_config_(registry|cafile|cache|userconfig|globalconfig))$/i;

/** A user's environment. Of the variables of Node and npm, it has only those that say how packages are got. */
function environment(bin: string): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = {};
  for (const [name, value] of Object.entries(process.env)) {
    const isOfTests = /^npm_|^(NODE|VITEST|INIT_CWD)/i.test(name);
    if (!isOfTests || OF_THE_MACHINE.test(name)) env[name] = value;
  }
  const path = (env.PATH ?? "").split(delimiter).filter((part) => !part.includes("node_modules"));
  env.PATH = [bin, ...path].join(delimiter);
  env.npm_config_prefer_offline = "true";
  env.npm_config_audit = "false";
  env.npm_config_fund = "false";
  env.npm_config_update_notifier = "false";
  return env;
}
