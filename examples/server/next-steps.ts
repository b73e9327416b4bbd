import { shellWord } from "../terminal/shell-word.ts";
import { type ServerTls, selfSigned } from "./tls.ts";

/** The address that a client calls by default. */
const DEFAULT_URL = "http://127.0.0.1:50051";

/** Returns the two commands to type next, in another terminal, with the purpose of each. */
export function nextSteps(
  listening: string,
  { tls, certificate }: { tls: ServerTls | undefined; certificate: string | undefined },
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
  const width = Math.max(...typed.map((command) => command.length));
  return typed.map((command, n) => `${command.padEnd(width)}   # ${steps[n]?.[1]}`).join("\n");
}

/** Returns the address for clients on this machine: they cannot call a wildcard address. */
function callableUrl(url: string): string {
  return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:");
}
