import { fileURLToPath } from "node:url";
import type { BrowserContext, Page } from "playwright-core";
import { greeter } from "../../examples/greeter/handlers.ts";
import { Greeter } from "../../gen/example/greeter_pb.js";
import type { ServerOptions } from "../../src/server.ts";
import type { TcpLink } from "../../src/testing/link.ts";
import { startWorld, type World } from "../../src/testing.ts";
import { memo } from "../support/memo.ts";
import { bundleForPage } from "../support/page/bundle.ts";
import { startChromium } from "./chromium.ts";
import type { page as pageApi } from "./page.ts";

/** Nothing but the script of the page's own origin, and connections to it and to other ports of 127.0.0.1. */
const POLICY = "default-src 'none'; script-src 'self'; connect-src 'self' ws://127.0.0.1:*";

/** The script of page.ts. */
const pageScript = memo(() => scriptOf("page.ts"));

const scriptOf = (file: string) => bundleForPage(fileURLToPath(new URL(file, import.meta.url)));

const example: ServerOptions["routes"] = (router) => router.service(Greeter, greeter);

export interface Browser extends AsyncDisposable {
  readonly context: BrowserContext;
  readonly page: Page;
  /** The network between the page and the server. */
  readonly link: TcpLink;
  readonly server: World["server"];
}

export interface BrowserSetup {
  /** Returns the page's files, by their paths. */
  readonly files: (path: string) => Response | Promise<Response>;
  /** The services of the server. Default: the example Greeter. */
  readonly routes?: ServerOptions["routes"];
}

/** Starts a server that takes WebSockets and serves `files`, and Chromium with / of it open, through the link. */
export async function openBrowser({ files, routes = example }: BrowserSetup): Promise<Browser> {
  const world = await startWorld({
    routes,
    server: {
      webSocket: {},
      async fallback({ url }) {
        const response = await files(new URL(url).pathname);
        response.headers.set("content-security-policy", POLICY);
        return response;
      },
    },
  });
  const link = world.link as TcpLink;
  const browser = await startChromium();
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(link.url);
  return {
    ...{ context, page, link, server: world.server },
    async [Symbol.asyncDispose]() {
      await context.close();
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

export interface PageSetup extends Pick<BrowserSetup, "routes"> {
  /** The script of the page, in this folder, which sets `window.page`. Default: page.ts. */
  readonly script?: string;
}

/** Opens a browser with a script at /, and an empty page elsewhere. */
export async function openPage<Page extends PageFunctions = typeof pageApi>({
  script: name,
  ...setup
}: PageSetup = {}): Promise<Scene<Page>> {
  const script = await (name === undefined ? pageScript() : scriptOf(name));
  const files = (path: string) => {
    if (path === "/page.js") return file("text/javascript", script);
    const element = path === "/" ? '<script type="module" src="/page.js"></script>' : "";
    return file("text/html", `<!doctype html><title>test</title>${element}`);
  };
  const browser = await openBrowser({ ...setup, files });
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

/** A file of a page. */
export function file(type: string, text: string | undefined): Response {
  return new Response(text, { headers: { "content-type": type } });
}
