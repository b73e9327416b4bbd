import { expect, test, vi } from "vitest";
import { OnceAMinute } from "../src/observe/once-a-minute.ts";

test("one message a minute is logged, with how many there were, and the others are not even made", () => {
  const now = vi.spyOn(performance, "now").mockReturnValue(1000);
  const logged: unknown[][] = [];
  const rarely = new OnceAMinute({ error: (...words) => void logged.push(words) });
  let made = 0;
  const note = (detail: string) =>
    rarely.error((count) => {
      made++;
      return `${count} times`;
    }, detail);
  for (const detail of ["a", "b", "c"]) note(detail);
  now.mockReturnValue(60_999);
  note("d");
  now.mockReturnValue(61_000);
  note("e");
  note("f");
  now.mockRestore();
  expect(logged).toEqual([
    ["1 times", "a"],
    ["4 times", "e"],
  ]);
  expect(made).toBe(2);
});
