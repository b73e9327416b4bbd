import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "vitest";
import { buildViteProject } from "../support/vite-project.ts";
import { hasChromium, openBrowser } from "./browser.ts";

describe.runIf(hasChromium)("in a page", () => {
  test("a Vite project that imports hawser makes its calls", async () => {
    await using project = await buildViteProject();
    await using scene = await openBrowser(async ({ url = "/" }, response) => {
      const name = url === "/" ? "index.html" : url;
      const type = name.endsWith(".js") ? "text/javascript" : "text/html";
      response.setHeader("content-type", type);
      response.end(await readFile(join(project.dist, name)).catch(() => ""));
    });
    await scene.page.getByText("Received: ahoy with a session").waitFor();
  });
});
