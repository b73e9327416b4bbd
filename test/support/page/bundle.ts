import { build } from "esbuild";

/** The script of a page, with all that its file imports. */
export async function bundleForPage(file: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [file],
    ...{ bundle: true, write: false, format: "esm", platform: "browser", target: "es2022" },
    conditions: ["hawser-source"],
    // React's.
    define: { "process.env.NODE_ENV": '"development"' },
  });
  return outputFiles[0]?.text ?? "";
}
