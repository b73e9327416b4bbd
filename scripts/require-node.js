/**
 * Loaded by the npm scripts that run examples/, before anything else: `node --import ./scripts/require-node.js`.
 * JavaScript, and without imports: a Node that reads no TypeScript must get as far as the one line that says so.
 */
const [major, minor] = process.versions.node.split(".").map(Number);

if (major < 22 || (major === 22 && minor < 18)) {
  process.stderr.write(
    `hawser: failed_precondition: needs Node 22.18 or newer to run from source, this is ${process.versions.node}: ` +
      "npm ci installs one for the scripts of this repository\n",
  );
  process.exit(1);
}
// Halves the time that a program takes to start, from its second run on.
const { enableCompileCache } = await import("node:module");
enableCompileCache();
