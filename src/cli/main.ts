#!/usr/bin/env node
// Nothing is imported at the top: an old Node must get as far as this line.
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);

if (major < 22 || (major === 22 && minor < 12)) {
  process.stderr.write(
    `hawser: failed_precondition: needs Node 22.12 or newer, this is ${process.versions.node}: ` +
      "install a newer one from nodejs.org\n",
  );
  process.exitCode = 1;
} else {
  // Halves the time that a command takes to start, from its second run on.
  const { enableCompileCache } = await import("node:module");
  enableCompileCache();
  const { program } = await import("./program.ts");
  await program.parseAsync();
}
