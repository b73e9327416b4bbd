/**
 * npm run h2spec              RFC 9113 and RFC 7541 by h2spec, against server.ts and against npm start; ~30 s
 * npm run h2spec -- -v 6.9    with flags and sections of h2spec, which prints what it sends
 *
 * server.ts must pass every case. npm start does not pass those of NOT_PASSED: another one that does not, and one of them that
 * does, fails the run.
 */
import { execFile, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startExampleServer } from "../support/program.ts";
import { startHoldServer } from "./server.ts";

/** Its version, and those of its dependencies, are in go/go.mod. */
const PACKAGE = "github.com/summerwind/h2spec/cmd/h2spec";

/** h2spec runs its three parts one after the other; here they run at the same time. */
const PARTS = ["generic", "http2", "hpack"];

const cache = join(import.meta.dirname, "../../.cache");
const h2spec = join(cache, "bin/h2spec");

/** What npm start does not pass. */
const NOT_PASSED: Readonly<Record<string, string>> = {
  "http2/3.5 Sends invalid connection preface":
    "the port serves HTTP/1.1 too, and answers it as a request of that",
};

/**
 * npm start answers a GET of / with its page, and 10 ms later asks a client to stop that has not ended its side
 * (src/connection/stop-reading.ts). These cases send the wrong frame before that, unless the machine is busy; after it the
 * stream is closed. The first one needs 1,000 requests that are not answered yet. Either result is accepted.
 */
const AT_THE_RIGHT_TIME: ReadonlySet<string> = new Set([
  "http2/5.1.2 Sends HEADERS frames that causes their advertised concurrent stream limit to be exceeded",
  "http2/5.1 closed: Sends a DATA frame after sending RST_STREAM frame",
  "http2/5.1 closed: Sends a HEADERS frame after sending RST_STREAM frame",
  "http2/6.1 Sends a DATA frame with invalid pad length",
  "http2/6.9 Sends a WINDOW_UPDATE frame with a flow control window increment of 0 on a stream",
  "http2/6.9.1 Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream",
  "http2/8.1 Sends a second HEADERS frame without the END_STREAM flag",
  "http2/8.1.2.1 Sends a HEADERS frame that contains a pseudo-header field as trailers",
  'http2/8.1.2.6 Sends a HEADERS frame with the "content-length" header field which does not equal the DATA frame payload length',
  'http2/8.1.2.6 Sends a HEADERS frame with the "content-length" header field which does not equal the sum of the multiple DATA frames payload length',
]);

interface Case {
  readonly name: string;
  readonly result: "passed" | "failed" | "skipped";
  /** Why it failed, by h2spec. */
  readonly detail: string;
}

const args = process.argv.slice(2);
install();
if (args.length > 0) {
  await using server = await startHoldServer();
  const { stdout } = await execute([...args, ...target(server.port, "/hold")]);
  console.log(stdout);
  process.exit(0);
}

let failures = 0;
{
  await using hold = await startHoldServer();
  await using example = await startExampleServer("--grace", "0s");
  // Most cases wait.
  const [ofHold, ofExample] = await Promise.all([
    cases(hold.port, "/hold"),
    cases(Number(new URL(example.url).port), "/"),
  ]);
  judge("server.ts", ofHold, { notPassed: {}, either: new Set() });
  judge("npm start", ofExample, { notPassed: NOT_PASSED, either: AT_THE_RIGHT_TIME });
}
process.exit(failures > 0 ? 1 : 0);

/** Prints what is not as it must be. */
function judge(
  name: string,
  all: readonly Case[],
  { notPassed, either }: { notPassed: typeof NOT_PASSED; either: ReadonlySet<string> },
): void {
  const wrong: string[] = [];
  for (const { name, result, detail } of all) {
    const reason = notPassed[name];
    if (either.has(name)) continue;
    if (result !== "passed" && reason === undefined) wrong.push(`${result}: ${name}\n${detail}`);
    if (result === "passed" && reason !== undefined) {
      wrong.push(`passed, and is listed as a case that does not: ${name}`);
    }
  }
  const names = new Set(all.map((one) => one.name));
  for (const listed of [...Object.keys(notPassed), ...either]) {
    if (!names.has(listed)) wrong.push(`listed, and not a case: ${listed}`);
  }
  failures += wrong.length;
  const passed = all.filter(({ result }) => result === "passed").length;
  const listed = Object.keys(notPassed).length;
  console.log(`${name}: ${all.length} cases, ${passed} passed, ${listed} listed as not passing`);
  for (const one of wrong) console.log(one);
}

/** Runs all cases against a server. */
async function cases(port: number, path: string): Promise<Case[]> {
  const folder = mkdtempSync(join(tmpdir(), "h2spec-"));
  try {
    const parts = PARTS.map(async (part) => {
      const report = join(folder, part);
      const { stderr } = await execute([part, "--junit-report", report, ...target(port, path)]);
      return read(report, stderr);
    });
    return (await Promise.all(parts)).flat();
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function target(port: number, path: string): string[] {
  return ["--host", "127.0.0.1", "--port", `${port}`, "--path", path];
}

/** Runs h2spec, which exits with 1 if a case fails. */
function execute(args: readonly string[]): Promise<{ stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(h2spec, args, { maxBuffer: 2 ** 27 }, (_, stdout, stderr) =>
      resolve({ stdout, stderr }),
    );
  });
}

/** The cases of a JUnit report. */
function read(report: string, stderr: string): Case[] {
  const found: Case[] = [];
  const text = readFileSync(report, "latin1");
  const element = /<testcase package="([^"]*)" classname="([^"]*)"[^>]*>([\s\S]*?)<\/testcase>/g;
  for (const [, section, title, content = ""] of text.matchAll(element)) {
    const failed = content.includes("<error>") || content.includes("<failure>");
    const result = failed ? "failed" : content.includes("<skipped>") ? "skipped" : "passed";
    const detail = content.replaceAll(/<[^>]*>/g, " ").trim();
    found.push({ name: `${section} ${plain(title as string)}`, result, detail });
  }
  if (found.length === 0) throw new Error(`h2spec reported no case. ${stderr}`);
  return found;
}

function plain(text: string): string {
  const characters: Record<string, string> = { "&#34;": '"', "&quot;": '"', "&amp;": "&" };
  return text.replaceAll(/&[^;]+;/g, (entity) => characters[entity] ?? entity);
}

/** Builds h2spec, in about a second if Go's cache is warm. */
function install(): void {
  mkdirSync(cache, { recursive: true });
  const built = spawnSync("go", ["build", "-o", h2spec, PACKAGE], {
    cwd: join(import.meta.dirname, "go"),
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (built.error !== undefined) {
    console.error("h2spec needs `go` on the PATH: it is a Go program");
    process.exit(1);
  }
  if (built.status !== 0) process.exit(1);
}
