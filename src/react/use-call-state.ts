import { useCallback, useSyncExternalStore } from "react";
import type { CallState } from "../client/call-lifecycle.ts";

/** The part of a streaming call that useCallState() needs. */
interface Stateful {
  readonly state: CallState;
  onState(listener: (state: CallState) => void): Disposable;
}

/**
 * Returns the state of a streaming call that the program made itself, and renders the component when it changes. Neither
 * mounting nor unmounting does anything to the call.
 */
export function useCallState(call: Stateful): CallState {
  const subscribe = useCallback(
    (listener: () => void) => {
      const listening = call.onState(listener);
      return () => listening[Symbol.dispose]();
    },
    [call],
  );
  const state = () => call.state;
  return useSyncExternalStore(subscribe, state, state);
}
