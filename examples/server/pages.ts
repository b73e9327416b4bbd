import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

/** The packages that the page needs, beside hawser: they are in the repository, but need not be where its examples are. */
const PACKAGES = ["esbuild", "ws"];

const folder = new URL("../pages/", import.meta.url);

/** The files at their paths, with their types. The script is made of page.ts. */
const FILES: Readonly<Record<string, readonly [file: string, type: string]>> = {
  "/": ["index.html", "text/html; charset=utf-8"],
  "/style.css": ["style.css", "text/css; charset=utf-8"],
  "/parts.css": ["parts.css", "text/css; charset=utf-8"],
  "/icon.svg": ["icon.svg", "image/svg+xml"],
  "/page.js": ["page.ts", "text/javascript; charset=utf-8"],
};

const HEADERS = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  // The next server may have another page at this address.
  "cache-control": "no-cache",
};

/** Whether the packages are there that the page needs. */
export function hasPages(): boolean {
  try {
    for (const name of PACKAGES) import.meta.resolve(name);
    return true;
  } catch {
    return false;
  }
}

/** Makes the option `fallback` of a server that has the page of examples/pages at /. */
export function servePages(): (request: Request) => Promise<Response> {
  let script: Promise<string> | undefined;
  return async ({ method, url }) => {
    const [file, type] = FILES[new URL(url).pathname] ?? [];
    if (file === undefined || type === undefined) return plain(404, "there is no such page");
    if (method !== "GET" && method !== "HEAD") return plain(405, "pages can only be read");
    if (file !== "page.ts") {
      const content = await readFile(new URL(file, folder), "utf8");
      return new Response(content, { headers: { ...HEADERS, "content-type": type } });
    }
    // Not when the server starts: who only uses the terminal waits for no bundler.
    script ??= bundle(fileURLToPath(new URL(file, folder)));
    const content = await script;
    return new Response(content, { headers: { ...HEADERS, "content-type": type } });
  };
}

function plain(status: number, text: string): Response {
  const headers = { ...HEADERS, "content-type": "text/plain; charset=utf-8" };
  return new Response(`${text}\n`, { status, headers });
}

/** Makes one script of a module and all that it imports, with the conditions of this process, as `hawser-source`. */
async function bundle(entry: string): Promise<string> {
  const esbuild = await import("esbuild");
  const flag = /^--conditions=(.*)$/;
  const conditions = process.execArgv.flatMap((arg) => flag.exec(arg)?.[1] ?? []);
  const { outputFiles } = await esbuild.build({
    entryPoints: [entry],
    ...{ bundle: true, minify: true, write: false, logLevel: "silent" },
    ...{ format: "esm", platform: "browser", target: "es2022", conditions },
  });
  // Else its process would stay as long as this one.
  await esbuild.stop();
  return outputFiles[0]?.text ?? "";
}
