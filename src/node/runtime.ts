import { AsyncResource } from "node:async_hooks";
import { compiledCodecs } from "../codec/compiled/compiled-codecs.ts";
import { setCodecCompiler } from "../codec/compiler.ts";
import { setRuntime } from "../flow/runtime.ts";

const { latin1Slice } = Buffer.prototype;
const settled = Promise.resolve();

// Each entry that runs on Node imports this file for its effect.
setRuntime({
  inLaterTurn: (run) => void setImmediate(run),
  // A tick alone would run before the microtasks if only a callback of Node has run before it. queueMicrotask() would make an
  // AsyncResource.
  afterMicrotasks: (run) => void settled.then(() => process.nextTick(run)),
  // AsyncLocalStorage.snapshot() does the same, with thirty times the memory.
  currentContext: () => new AsyncResource("HawserCall"),
  allocate: (bytes) => Buffer.allocUnsafe(bytes),
  allocateAlone: (bytes) => Buffer.allocUnsafeSlow(bytes),
  // A TextDecoder takes several times as long for a few bytes.
  asciiText: (bytes, start, end) => latin1Slice.call(bytes, start, end),
});
setCodecCompiler(compiledCodecs);
