/** Records transcripts anew: node --conditions=hawser-source test/http2/transcripts/record.ts [NAME...]. See README.md. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { expectedOf, formatExpected } from "./expected.ts";
import { startPageServer } from "./page.ts";
import {
  buildPeers,
  grpcPeers,
  run,
  startChromium,
  startNghttpd,
  startServer,
} from "./programs.ts";
import { joined, type Recorder, startRecorder } from "./recorder.ts";
import { FOLDER, format, type Transcript } from "./transcript.ts";

const CALLS = ["unary", "push", "collect", "chat", "error", "gzip", "cancel", "idle", "unary"];

const chosen = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), "transcripts-"));
const nothingToKeep = { [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) };
using _ = nothingToKeep;
mkdirSync(FOLDER, { recursive: true });

if (isChosen("grpc-go", "grpcio", "tonic")) await buildPeers();
for (const peer of grpcPeers) {
  if (!isChosen(peer.name)) continue;
  for (const [name, calls, program] of [
    [peer.name, CALLS, peer.server],
    [`${peer.name}-large`, ["large", "idle"], peer.largeServer ?? peer.server],
  ] as const) {
    await using server = await startServer(program);
    await using recorder = await startRecorder(server.address);
    await run([...peer.client, recorder.address, ...calls]);
    await keep(name, { client: peer.name, server: peer.name }, recorder);
  }
}

if (isChosen("nghttp")) {
  const nghttp2 = execFileSync("nghttp", ["--version"], { encoding: "utf8" }).trim();
  const programs = { client: `nghttp, ${nghttp2}`, server: `nghttpd, ${nghttp2}` };
  writeFileSync(join(folder, "small"), "a small file");
  writeFileSync(join(folder, "large"), "0123456789".repeat(10_000));
  const options = [`--htdocs=${folder}`, "--trailer=x-trail: one", "--padding=7"];
  await using server = await startNghttpd(options);
  {
    await using recorder = await startRecorder(server.address);
    const pages = ["small", "missing", "large"].map((path) => `http://${recorder.address}/${path}`);
    await run(["nghttp", "--null-out", "--no-push", "--padding=9", "--multiply=2", ...pages]);
    await keep("nghttp", programs, recorder);
  }
  await using echo = await startNghttpd([`--htdocs=${folder}`, "--echo-upload"]);
  {
    await using recorder = await startRecorder(echo.address);
    const upload = [
      "--trailer=x-trail: one",
      `--data=${join(folder, "large")}`,
      "--expect-continue",
    ];
    await run([
      "nghttp",
      "--null-out",
      "--continuation",
      ...upload,
      `http://${recorder.address}/small`,
    ]);
    await keep("nghttp-upload", programs, recorder);
  }
  {
    await using recorder = await startRecorder(server.address);
    await run(["h2load", "-n12", "-m4", `http://${recorder.address}/small`]);
    await keep("h2load", { ...programs, client: `h2load, ${nghttp2}` }, recorder);
  }
}

if (isChosen("chromium")) {
  const version = execFileSync("chromium", ["--version"], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  await using server = await startPageServer();
  await using recorder = await startRecorder(server.address, { tls: true });
  {
    await using _chromium = startChromium(`https://${recorder.address}/`);
    await server.done;
    // The headers of the last answer.
    await setTimeout(100);
  }
  await keep(
    "chromium",
    { client: version.trim(), server: `node:http2 ${process.version}` },
    recorder,
  );
}

function isChosen(...names: string[]): boolean {
  return chosen.length === 0 || names.some((name) => chosen.includes(name));
}

async function keep(
  name: string,
  programs: Pick<Transcript, "client" | "server">,
  recorder: Recorder,
): Promise<void> {
  await recorder.closed;
  const transcript = { ...programs, chunks: joined(recorder.chunks) };
  writeFileSync(new URL(`${name}.json`, FOLDER), format(transcript));
  writeFileSync(new URL(`${name}.expected.json`, FOLDER), formatExpected(expectedOf(transcript)));
  const bytes = transcript.chunks.reduce((sum, chunk) => sum + chunk.bytes.length, 0);
  console.log(`${name}: ${transcript.chunks.length} chunks, ${bytes} B`);
}
