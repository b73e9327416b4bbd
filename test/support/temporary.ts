import { mkdtemp, realpath } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A new folder outside the repository. Who asks for it removes it. */
export async function temporary(): Promise<string> {
  return await realpath(await mkdtemp(join(tmpdir(), "hawser-test-")));
}
