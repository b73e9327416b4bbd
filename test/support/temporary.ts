import { mkdtemp, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A new folder outside the repository. The caller removes it. */
export async function temporary(): Promise<string> {
  return await realpath(await mkdtemp(join(tmpdir(), "hawser-test-")));
}

/** The path for a file, in a new folder that is removed with it. */
export interface TemporaryFile extends AsyncDisposable {
  readonly folder: string;
  readonly path: string;
}

/** A place for a file of this name; the file itself is not made. */
export async function temporaryFile(name: string): Promise<TemporaryFile> {
  const folder = await temporary();
  return {
    folder,
    path: join(folder, name),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  };
}
