#!/usr/bin/env node
// Nothing else is imported at the top: an old Node must get as far as the check.
import { nodeTooOld } from "../node-version.ts";

const tooOld = nodeTooOld(process.versions.node);

if (tooOld !== undefined) {
  process.stderr.write(`hawser: failed_precondition: ${tooOld}\n`);
  process.exitCode = 1;
} else {
  // Halves the time that a command takes to start, from its second run on.
  const { enableCompileCache } = await import("node:module");
  enableCompileCache();
  const { program } = await import("./program.ts");
  await program.parseAsync();
}
