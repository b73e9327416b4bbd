import { existsSync } from "node:fs";
import { afterAll } from "vitest";
import { launchChromium } from "../support/chromium.ts";
import { memo } from "../support/memo.ts";
import { executablePath } from "./executable-path.ts";

export const hasChromium = existsSync(executablePath);

let close = async () => {};
afterAll(() => close());

/** Starts Chromium, once for all tests of a file. Each test has a context of its own in it. */
export const startChromium = memo(async () => {
  const browser = await launchChromium();
  close = () => browser.close();
  return browser;
});
