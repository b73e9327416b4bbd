import { expect, test, vi } from "vitest";
import { serverLog } from "../examples/server/server-log.ts";

/** What the logger of the example server writes to stderr. */
function written(json: boolean): string {
  const lines: string[] = [];
  const spy = vi.spyOn(process.stderr, "write").mockImplementation((text) => {
    lines.push(String(text));
    return true;
  });
  const { title } = process;
  try {
    process.title = "server";
    const log = serverLog({ json });
    const error = new Error("of \u001b[31ma peer");
    error.stack = `Error: ${error.message}\n    at handlers.ts:1:2`;
    log.error("the handler of /example.Greeter/Chat failed:", error);
    log.warn("a session was lost");
  } finally {
    process.title = title;
    spy.mockRestore();
  }
  return lines.join("");
}

test("the example server prints an error with its stack below, and a peer's text as text", () => {
  expect(written(false)).toBe(
    [
      "server: the handler of /example.Greeter/Chat failed:",
      "  Error: of \\u001b[31ma peer",
      "      at handlers.ts:1:2",
      "server: a session was lost",
      "",
    ].join("\n"),
  );
});

test("the example server prints an error as a line of JSON, with its stack", () => {
  const [error, warning] = written(true)
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(error).toEqual({
    level: "error",
    message: "the handler of /example.Greeter/Chat failed:",
    detail: "Error: of \u001b[31ma peer\n    at handlers.ts:1:2",
  });
  expect(warning).toEqual({ level: "warn", message: "a session was lost" });
});
