import { existsSync } from "node:fs";
import type { RequestListener } from "node:http";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { type BrowserContext, chromium, type Page } from "playwright-core";
import { greeter } from "../../examples/greeter/handlers.ts";
import { Greeter } from "../../gen/example/greeter_pb.js";
import type { ServerOptions } from "../../src/server.ts";
import type { TcpLink } from "../../src/testing/link.ts";
import { startWorld, type World } from "../../src/testing.ts";
import { openPipe } from "../support/web-socket-to-tcp.ts";
import { executablePath } from "./executable-path.ts";
import type { page as pageApi } from "./page.ts";

export const hasChromium = existsSync(executablePath);

/** Nothing but the script of the page's own origin, and connections to it and to other ports of 127.0.0.1. */
const POLICY = "default-src 'none'; script-src 'self'; connect-src 'self' ws://127.0.0.1:*";

const folder = fileURLToPath(new URL(".", import.meta.url));

export interface Browser extends AsyncDisposable {
  readonly context: BrowserContext;
  readonly page: Page;
  readonly link: TcpLink;
  readonly server: World["server"];
  /** The paths of the WebSockets that were opened so far. */
  readonly opened: readonly string[];
}

const example: ServerOptions["routes"] = (router) => router.service(Greeter, greeter);

/** Starts a server, a WebSocket-to-TCP pipe in front of it that also serves `pages`, and Chromium with / of it open. */
export async function openBrowser(pages: RequestListener, routes = example): Promise<Browser> {
  const world = await startWorld({
    routes,
    server: { webSocket: {} },
  });
  const link = world.link as TcpLink;
  const pipe = await openPipe(link.port, (request, response) => {
    response.setHeader("content-security-policy", POLICY);
    pages(request, response);
  });
  const browser = await chromium.launch({
    executablePath,
    args: ["--no-sandbox", "--disable-gpu"],
    // Playwright turns the cache off that a test needs.
    ignoreDefaultArgs: ["--disable-back-forward-cache"],
  });
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(pipe.url);
  return {
    ...{ context, page, link, server: world.server, opened: pipe.opened },
    async [Symbol.asyncDispose]() {
      await browser.close();
      await pipe.close();
      await world[Symbol.asyncDispose]();
    },
  };
}

/** The functions of a page, by their names; what they take and give passes between the page and Node. */
export type PageFunctions = Readonly<Record<string, (...args: never[]) => unknown>>;

export interface Scene<Page extends PageFunctions = typeof pageApi> extends Browser {
  /** Calls a function of the page in the page. */
  run<Name extends keyof Page>(
    name: Name,
    ...args: Parameters<Page[Name]>
  ): Promise<Awaited<ReturnType<Page[Name]>>>;
}

export interface PageSetup {
  /** The script of the page, in this folder, which sets `window.page`. Default: page.ts. */
  readonly script?: string;
  /** The services of the server. Default: the example Greeter. */
  readonly routes?: ServerOptions["routes"];
}

/** Opens a browser with a script at /, and an empty page elsewhere. */
export async function openPage<Page extends PageFunctions = typeof pageApi>({
  script = "page.ts",
  routes,
}: PageSetup = {}): Promise<Scene<Page>> {
  const { outputFiles } = await build({
    entryPoints: [join(folder, script)],
    ...{ bundle: true, write: false, format: "esm", platform: "browser", target: "es2022" },
    conditions: ["hawser-source"],
    define: { "process.env.NODE_ENV": '"development"' },
  });
  const browser = await openBrowser(({ url }, response) => {
    if (url === "/page.js") {
      response.setHeader("content-type", "text/javascript").end(outputFiles[0]?.text);
      return;
    }
    const element = url === "/" ? '<script type="module" src="/page.js"></script>' : "";
    response.setHeader("content-type", "text/html");
    response.end(`<!doctype html><title>test</title>${element}`);
  }, routes);
  const { page } = browser;
  await page.waitForFunction(() => "page" in window);
  return {
    ...browser,
    run: (name, ...args) =>
      page.evaluate(
        ([name, args]) => {
          const { page } = window as unknown as {
            page: Record<string, (...args: unknown[]) => unknown>;
          };
          return page[name]?.(...args) as never;
        },
        [name as string, args] as const,
      ),
  };
}
