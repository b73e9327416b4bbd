import { useEffect, useState, useSyncExternalStore } from "react";
import type { CallData, CallStore, ReceivingCall } from "./call-store.ts";

/** A store, and which call it is for. */
export interface KeyedStore<Key, Res, State, Call extends ReceivingCall<Res>> {
  readonly key: Key;
  readonly store: CallStore<Res, State, Call>;
}

export interface StoreUse<Key, Res, State, Call extends ReceivingCall<Res>> {
  /** Makes the store for this render's call. Makes no call: React may call it for a render that it throws away. */
  readonly make: () => KeyedStore<Key, Res, State, Call>;
  /** Whether the store of an earlier render is for the same call. */
  readonly isFor: (key: Key) => boolean;
  readonly reduce: (data: State, response: Res) => State;
}

/** Makes a component see the data of a call, whose store stays the same until a render is for another call. */
export function useStore<Key, Res, State, Call extends ReceivingCall<Res>>({
  make,
  isFor,
  reduce,
}: StoreUse<Key, Res, State, Call>): [store: CallStore<Res, State, Call>, data: CallData<State>] {
  const [held, hold] = useState(make);
  let used = held;
  if (!isFor(held.key)) {
    used = make();
    // React renders again at once, before it shows anything.
    hold(used);
  }
  const { store } = used;
  // Before the effect in which React subscribes: the first response is reduced by this render's function.
  useEffect(() => {
    store.reduce = reduce;
  }, [store, reduce]);
  return [store, useSyncExternalStore(store.subscribe, store.snapshot, store.snapshot)];
}
