/**
 * The npm scripts that run examples/ load this file first: `node --import ./scripts/require-node.js`. It is JavaScript
 * without imports, so that a Node which reads no TypeScript gets as far as the line that says so.
 */
const major = Number(process.versions.node.split(".")[0]);

// The source uses `using`.
if (major < 24) {
  process.stderr.write(
    `hawser: failed_precondition: needs Node 24 or newer to run from source, this is ${process.versions.node}: ` +
      "npm ci installs one for the scripts of this repository\n",
  );
  process.exit(1);
}
// Halves the time that a program takes to start, from its second run on.
const { enableCompileCache } = await import("node:module");
enableCompileCache();
