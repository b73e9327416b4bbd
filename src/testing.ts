/** Tests of services on broken networks: `import { startWorld } from "hawser/testing"`. */
import "./node/runtime.ts";

export type { CutKind, Direction, Link } from "./testing/link.ts";
export type { WorldServer } from "./testing/server.ts";
export { startWorld, type World, type WorldOptions } from "./testing/world.ts";
