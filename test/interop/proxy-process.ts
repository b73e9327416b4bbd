/** A proxy in a process of its own, and the processes that it starts itself. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { endsWithUs } from "./programs.ts";

interface Running {
  readonly child: ChildProcess;
  /** Ends the master and its workers. */
  kill(): void;
  readonly ended: Promise<void>;
}

export interface ProxyProcess extends AsyncDisposable {
  readonly port: number;
  /** Reads its configuration anew: other workers take over, those before end a second later. */
  reload(): Promise<void>;
  /** Kills the proxy and its workers together, as the failure of a machine does. */
  kill(): Promise<void>;
  /** Starts it again on its port. */
  start(): Promise<void>;
}

/** Debian installs proxies in a folder that is not on the PATH of many users. */
export const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/usr/local/sbin` };

export interface ProxyOptions {
  /** On which it listens. */
  readonly port: number;
  /** Whether it takes commands; it listens before. Default: it does. */
  readonly ready?: () => Promise<boolean>;
  /** Has it read its configuration anew. */
  readonly reload: (proxy: ChildProcess) => void | Promise<void>;
}

export async function startProxy(
  [command, ...args]: readonly [string, ...string[]],
  { port, ready = async () => true, reload }: ProxyOptions,
): Promise<ProxyProcess> {
  let running: Running | undefined;
  const start = async () => {
    // It gets its own process group: its workers would outlive it if it were killed alone.
    const child = spawn(command, args, {
      stdio: ["ignore", "ignore", "inherit"],
      detached: true,
      env,
    });
    /** How it ended; `undefined` while it runs. */
    let end: string | undefined;
    const ended = new Promise<void>((resolve) => {
      const endWith = (how: string) => {
        end = how;
        resolve();
      };
      child.once("error", ({ message }) => endWith(`did not start: ${message}`));
      child.once("exit", (code, signal) => endWith(`exited with ${code ?? signal}`));
    });
    const kill = () => {
      if (end === undefined) process.kill(-(child.pid as number), "SIGKILL");
    };
    endsWithUs(kill, ended);
    running = { child, kill, ended };
    while (!(await answers(port)) || !(await ready())) {
      if (end !== undefined) throw new Error(`${command} ${end}`);
      await pause(20);
    }
  };
  const kill = async () => {
    running?.kill();
    await running?.ended;
  };
  await start();
  return {
    port,
    start,
    kill,
    async reload() {
      if (running !== undefined) await reload(running.child);
    },
    [Symbol.asyncDispose]: kill,
  };
}

/** Whether a server listens on the port. */
async function answers(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
