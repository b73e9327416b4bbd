/** What a page, a worker of one, and Node have of these; only a page has all of them. */
type Page = Partial<Pick<Window, "addEventListener" | "removeEventListener" | "document">>;

/**
 * Calls `run` when the network may have returned: the machine is online again, the page is visible again, or it comes from
 * the back/forward cache, into which no connection goes with it.
 */
export function onNetwork(run: () => void): Disposable {
  const { addEventListener, removeEventListener, document } = globalThis as Page;
  const onShow = ({ persisted }: PageTransitionEvent) => persisted && run();
  const onVisible = () => document?.visibilityState === "visible" && run();
  addEventListener?.("online", run);
  addEventListener?.("pageshow", onShow);
  document?.addEventListener("visibilitychange", onVisible);
  return {
    [Symbol.dispose]() {
      removeEventListener?.("online", run);
      removeEventListener?.("pageshow", onShow);
      document?.removeEventListener("visibilitychange", onVisible);
    },
  };
}
