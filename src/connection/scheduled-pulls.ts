import { runtime } from "../flow/runtime.ts";

/** A stream whose source has messages that are written at the end of the turn. */
export interface PullingStream {
  pullScheduled(): void;
}

/** The streams that wait for the end of this turn: one callback serves all of them. */
let pulling: PullingStream[] = [];

/** Calls pullScheduled() once, after the microtasks of this turn, or before a connection writes what it has for its pipe. */
export function schedulePull(stream: PullingStream): void {
  if (pulling.push(stream) === 1) runtime.afterMicrotasks(pullAll);
}

/** Calls pullScheduled() of all streams that wait for it. */
export function pullAll(): void {
  if (pulling.length === 0) return;
  const streams = pulling;
  pulling = [];
  for (const stream of streams) stream.pullScheduled();
}
