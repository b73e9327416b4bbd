import { describe, expect, test } from "vitest";
import { LazyAbortController } from "../src/flow/lazy-abort.ts";
import { onAbort } from "../src/flow/wait.ts";

describe("a controller whose signal is made late", () => {
  test("its signal aborts with the reason, whether it is asked for before or after abort()", () => {
    const [before, after] = [new LazyAbortController(), new LazyAbortController()];
    const { signal } = before;
    const reason = new Error("enough");
    for (const controller of [before, after]) controller.abort(reason);
    for (const aborted of [signal, after.signal]) {
      expect(aborted).toMatchObject({ aborted: true, reason });
    }
  });

  test("abort() counts once", () => {
    const controller = new LazyAbortController();
    const reasons: unknown[] = [];
    onAbort(controller, (reason) => reasons.push(reason));
    controller.abort("first");
    controller.abort("second");
    expect(reasons).toEqual(["first"]);
    expect(controller.signal.reason).toBe("first");
  });

  test("several listeners hear of it, and none that was disposed", () => {
    const controller = new LazyAbortController();
    const heard: string[] = [];
    const listen = (name: string) => onAbort(controller, () => heard.push(name));
    const [first] = [listen("first"), listen("second")];
    const third = listen("third");
    first[Symbol.dispose]();
    third[Symbol.dispose]();
    listen("fourth");
    controller.abort("now");
    expect(heard.sort()).toEqual(["fourth", "second"]);
    listen("late");
    expect(heard).toContain("late");
  });
});
