/** Bundles scripts/greeter-page.ts as a front-end project does, to see what a page of hawser/web takes. */
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { type BuildOptions, build, type Metafile } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));

export interface Bundle {
  readonly code: string;
  readonly gzipBytes: number;
  readonly metafile: Metafile;
}

/**
 * Bundles a page for browsers.
 *
 * @param options further options of esbuild: with `conditions: ["hawser-source"]` the page has src/, else dist/
 */
export async function bundle(options: BuildOptions = {}): Promise<Bundle> {
  const { outputFiles, metafile } = await build({
    absWorkingDir: root,
    entryPoints: ["scripts/greeter-page.ts"],
    bundle: true,
    minify: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
    legalComments: "none",
    logLevel: "silent",
    ...options,
    write: false,
    metafile: true,
  });
  const code = outputFiles?.[0]?.text ?? "";
  return { code, gzipBytes: gzipSync(code, { level: 9 }).length, metafile };
}
