import { type Browser, chromium } from "playwright-core";
import { executablePath } from "../browser/executable-path.ts";

/** Starts Chromium, which takes a second. */
export function launchChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath,
    // The last one: tests have certificates of their own.
    args: ["--no-sandbox", "--disable-gpu", "--ignore-certificate-errors"],
    // Playwright turns the cache off that a test needs.
    ignoreDefaultArgs: ["--disable-back-forward-cache"],
  });
}
