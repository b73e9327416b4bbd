/** The events by which a page learns that the network may have returned. */
import { expect, onTestFinished, test, vi } from "vitest";
import { onNetwork } from "../src/web/page-events.ts";
import { createTransport } from "../src/web.ts";

/** An EventTarget that counts its listeners. */
class Target extends EventTarget {
  listeners = 0;

  override addEventListener(...given: Parameters<EventTarget["addEventListener"]>): void {
    this.listeners++;
    super.addEventListener(...given);
  }

  override removeEventListener(...given: Parameters<EventTarget["removeEventListener"]>): void {
    this.listeners--;
    super.removeEventListener(...given);
  }
}

/** A page until the test ends. */
function openPage() {
  const window = new Target();
  const document = Object.assign(new Target(), { visibilityState: "visible" });
  vi.stubGlobal("addEventListener", window.addEventListener.bind(window));
  vi.stubGlobal("removeEventListener", window.removeEventListener.bind(window));
  vi.stubGlobal("document", document);
  onTestFinished(() => void vi.unstubAllGlobals());
  const dispatch = (target: Target, type: string, more = {}) =>
    void target.dispatchEvent(Object.assign(new Event(type), more));
  return { window, document, dispatch };
}

test("the network may have returned when the machine is online, and when the page is shown again or visible", () => {
  const { window, document, dispatch } = openPage();
  let runs = 0;
  using _listening = onNetwork(() => void runs++);
  dispatch(window, "online");
  dispatch(window, "pageshow", { persisted: true });
  dispatch(document, "visibilitychange");
  expect(runs).toBe(3);
  dispatch(window, "pageshow", { persisted: false });
  document.visibilityState = "hidden";
  dispatch(document, "visibilitychange");
  expect(runs).toBe(3);
});

test("a worker has no page, and Node has neither: nothing fails", () => {
  onNetwork(() => {})[Symbol.dispose]();
});

test("each transport listens by itself, and a closed one listens no more", async () => {
  const { window, document } = openPage();
  const baseUrl = "http://127.0.0.1:1";
  const one = createTransport({ baseUrl });
  const of = () => [window.listeners, document.listeners];
  const [ofWindow = 0, ofDocument = 0] = of();
  expect([ofWindow, ofDocument]).not.toContain(0);
  const two = createTransport({ baseUrl });
  expect(of()).toEqual([2 * ofWindow, 2 * ofDocument]);
  await one.close();
  await two.close();
  expect(of()).toEqual([0, 0]);
});
