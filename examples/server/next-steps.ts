import { shellWord } from "../terminal/shell-word.ts";
import { type ServerTls, selfSigned } from "./tls.ts";

/** The address that a client calls by default. */
const DEFAULT_URL = "http://127.0.0.1:50051";

export interface NextStepsOptions {
  readonly tls: ServerTls | undefined;
  /** The file of the certificate. */
  readonly certificate: string | undefined;
  /** Whether the server has a page for browsers. */
  readonly hasPages: boolean;
}

/** Returns what to do next, a line each with its purpose: the page to open, and two commands for another terminal. */
export function nextSteps(
  listening: string,
  { tls, certificate, hasPages }: NextStepsOptions,
): string {
  const url = callableUrl(listening);
  const flags = url === DEFAULT_URL ? [] : ["--url", url];
  if (tls !== undefined) flags.push("--ca", selfSigned(tls.cert) ? `${certificate}` : "CA.pem");
  if (tls?.ca !== undefined) flags.push("--cert", "CLIENT.pem", "--key", "CLIENT-KEY.pem");
  const steps: [words: string[], what: string][] = [
    [[], "in another terminal: chat, one line per message"],
    [
      ["--count", "20", "--cut-every", "2s"],
      "the same while its connection is cut again and again",
    ],
  ];
  const typed = steps.map(([words]) => {
    const all = [...words, ...flags].map(shellWord).join(" ");
    return all === "" ? "npm run chat" : `npm run chat -- ${all}`;
  });
  const lines = typed.map((command, n): [string, string] => [command, `${steps[n]?.[1]}`]);
  // A browser reaches no Unix socket.
  if (hasPages && /^https?:/.test(url)) lines.unshift([url, "in a browser: rooms, and a chat"]);
  const width = Math.max(...lines.map(([step]) => step.length));
  return lines.map(([step, what]) => `${step.padEnd(width)}   # ${what}`).join("\n");
}

/** Returns the address for clients on this machine: they cannot call a wildcard address. */
function callableUrl(url: string): string {
  return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:");
}
