/**
 * Overwrites the memory of messages as soon as it may be used again, in the program that loads this file first: what still
 * reads it then reads 0xDD. Codecs are compiled at once, since the closures use memory only once.
 */
import { compiledCodecs } from "../../src/codec/compiled/compiled-codecs.ts";
import { setCodecCompiler } from "../../src/codec/compiler.ts";
import { runtime, setRuntime } from "../../src/flow/runtime.ts";
import "../../src/node/runtime.ts";

setRuntime({
  ...runtime,
  poison: (memory) => void memory.fill(0xdd),
});
setCodecCompiler(compiledCodecs, 1);
