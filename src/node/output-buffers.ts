import { runtime } from "../flow/runtime.ts";
import { createOutputBuffers } from "../http2/buffers.ts";

/** The output buffers of all connections of this process. */
export const outputBuffers = createOutputBuffers(runtime.poison);
