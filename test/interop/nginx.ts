/** Our client and our servers with nginx between them. */
import { lackOfNginx, startNginx } from "./nginx-process.ts";
import { everyScenario, type StartProxy, sessionsThrough } from "./proxied.ts";

/** Skipped, with a notice, if nginx is not installed, and always in CI. */
export async function throughNginx(directory: string): Promise<void> {
  const lack = process.env.CI ? "this is CI" : lackOfNginx();
  if (lack !== undefined) {
    console.log(`SKIP nginx: ${lack}`);
    return;
  }
  const start: StartProxy = (backends) => startNginx(directory, backends);
  for (const session of [true, false]) await everyScenario("nginx", start, { session });
  await sessionsThrough("nginx", start);
}
