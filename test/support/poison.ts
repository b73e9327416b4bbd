/**
 * Overwrites the memory of messages as soon as it may be used again, in the program that loads this file first: what
 * still reads it then reads 0xDD.
 */
import { runtime, setRuntime } from "../../src/flow/runtime.ts";
import "../../src/node/runtime.ts";

setRuntime({
  ...runtime,
  poison: (memory) => void new Uint8Array(memory.buffer).fill(0xdd),
});
