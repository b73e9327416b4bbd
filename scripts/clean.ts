/** Removes what an earlier build made, so that nothing stale is packed. */
import { rmSync } from "node:fs";

rmSync(new URL("../dist", import.meta.url), { recursive: true, force: true });
