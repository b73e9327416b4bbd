import { describe, expect, test } from "vitest";
import { ExactlyOne } from "../src/grpc/exactly-one.ts";
import { Code, ConnectError } from "../src/index.ts";
import { gate } from "./support/gate.ts";

/** An ExactlyOne of texts, and what it reports. A text that begins with "!" cannot be opened. */
function receiver(open: (text: string) => string | Promise<string> = (text) => text) {
  const reports: string[] = [];
  const note = (what: string) => (error?: unknown) => {
    const code = error instanceof ConnectError ? Code[error.code] : String(error ?? "");
    reports.push(`${what} ${code}`.trim());
  };
  const opened: string[] = [];
  const only = new ExactlyOne<string, string>(
    {
      open(text) {
        opened.push(text);
        if (text.startsWith("!")) throw new Error(text);
        return open(text);
      },
      drop: (text) => reports.push(`dropped ${text}`),
      onLeave: note("left"),
      onRefuse: note("refused"),
    },
    {
      listener: { onOnlyMessage: (text) => reports.push(text), onNoMessage: note("none:") },
      what: "response",
      call: "a unary call",
    },
  );
  return { only, reports, opened };
}

describe("the receiver of exactly one message", () => {
  test("it opens the message when that arrives, and reports it at the end", () => {
    const { only, reports, opened } = receiver();
    only.put("one");
    expect([opened, reports]).toEqual([["one"], []]);
    only.close();
    expect(reports).toEqual(["one"]);
  });

  test("no message, or a second one, is UNIMPLEMENTED", () => {
    const [none, two] = [receiver(), receiver()];
    none.only.close();
    expect(none.reports).toEqual(["none: Unimplemented"]);
    for (const text of ["one", "two", "three"]) two.only.put(text);
    two.only.close();
    expect(two.reports).toEqual(["none: Unimplemented", "left", "dropped three"]);
  });

  test("a message that cannot be opened is the error, also if it is the second", () => {
    const [first, second] = [receiver(), receiver()];
    first.only.put("!a");
    second.only.put("one");
    second.only.put("!b");
    expect(first.reports).toEqual(["refused Error: !a", "none: Error: !a"]);
    expect(second.reports).toEqual(["refused Error: !b", "none: Error: !b"]);
  });

  test("an error at the end counts, and not the message", () => {
    const { only, reports } = receiver();
    only.put("one");
    only.close(new ConnectError("too late", Code.Aborted));
    expect(reports).toEqual(["none: Aborted"]);
  });

  test("after a failure nothing else is reported", () => {
    const { only, reports } = receiver();
    only.put("one");
    only.fail(new ConnectError("cancelled", Code.Canceled));
    only.put("two");
    only.close();
    only.fail(new Error("again"));
    expect(reports).toEqual(["none: Canceled", "dropped two"]);
  });

  test("the end waits for a message that is opened slowly", async () => {
    const inflated = gate();
    const { only, reports } = receiver(async (text) => {
      await inflated.opened;
      return text;
    });
    only.put("one");
    only.close();
    expect(reports).toEqual([]);
    inflated.open();
    await expect.poll(() => reports).toEqual(["one"]);
  });

  test("a second message is dropped while the first is opened, and is the error after that", async () => {
    const inflated = gate();
    const { only, reports, opened } = receiver(async (text) => {
      await inflated.opened;
      return text;
    });
    only.put("one");
    only.put("two");
    inflated.open();
    await expect.poll(() => reports).toEqual(["dropped two", "none: Unimplemented", "left"]);
    expect(opened).toEqual(["one"]);
  });
});
