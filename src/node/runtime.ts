import { AsyncResource } from "node:async_hooks";
import { setRuntime } from "../flow/runtime.ts";

const { latin1Slice } = Buffer.prototype;

// Imported by each entry that runs on Node, for this effect.
setRuntime({
  inLaterTurn: (run) => void setImmediate(run),
  afterMicrotasks: (run) => process.nextTick(run),
  // AsyncLocalStorage.snapshot() does the same for thirty times the memory.
  currentContext: () => new AsyncResource("HawserCall"),
  allocate: (bytes) => Buffer.allocUnsafe(bytes),
  // A TextDecoder takes several times as long for a few bytes.
  asciiText: (bytes, start, end) => latin1Slice.call(bytes, start, end),
});
