import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const run = promisify(execFile);
const soak = fileURLToPath(new URL("./soak/run.ts", import.meta.url));

// `npm run soak -- --web` does it with a million messages.
test("100 sessions over WebSockets that are cut, stalled and refused all the time have every message once and in order, in both directions", {
  timeout: 60_000,
}, async () => {
  const { stdout } = await run(process.execPath, [soak, "--web", "--seconds", "4"]);
  const report = JSON.parse(stdout.trim().split("\n").at(-1) as string);
  expect(report).toMatchObject({
    ...{ ok: true, lost: 0, repeated: 0, outOfOrder: 0, damaged: 0, failures: [] },
    left: { handlers: 0, sessions: 0, streams: 0, clientStreams: 0 },
  });
  expect(report.messages).toBeGreaterThan(60_000);
  expect(report.cuts).toBeGreaterThan(100);
  expect(report.resumes).toBeGreaterThan(100);
});
