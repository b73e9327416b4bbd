/**
 * Loaded by the npm scripts that run examples/, before anything else: `node --import ./scripts/require-node.js`.
 * JavaScript, and without imports: a Node that reads no TypeScript must reach the line with the error.
 */
const major = Number(process.versions.node.split(".")[0]);

// The source has `using`.
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
