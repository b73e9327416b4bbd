import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "vitest";
import { buildViteProject } from "../support/vite-project.ts";
import { file, openBrowser } from "./browser.ts";
import { hasChromium } from "./chromium.ts";

describe.runIf(hasChromium)("in a page", () => {
  test("a Vite project that imports hawser makes its calls", async () => {
    await using project = await buildViteProject();
    await using scene = await openBrowser({
      async files(path) {
        const name = path === "/" ? "index.html" : path;
        const type = name.endsWith(".js") ? "text/javascript" : "text/html";
        return file(type, await readFile(join(project.dist, name), "utf8").catch(() => ""));
      },
    });
    await scene.page.getByText("Received: ahoy with a session").waitFor();
  });
});
