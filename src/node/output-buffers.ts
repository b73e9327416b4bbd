import { runtime } from "../flow/runtime.ts";
import { createOutputBuffers, createPoisonedBuffers } from "../http2/buffers.ts";

/** The output buffers of all connections of this process. */
export const outputBuffers =
  runtime.poison === undefined ? createOutputBuffers() : createPoisonedBuffers(runtime.poison);
