/** The oldest Node that Hawser runs on: `engines` in package.json. better-sqlite3 13 ends the process on 22.12 and 22.13. */
const OLDEST = { major: 22, minor: 14 };

/** Returns the text of an error if this version of Node is too old, otherwise `undefined`. */
export function nodeTooOld(version: string): string | undefined {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major > OLDEST.major || (major === OLDEST.major && minor >= OLDEST.minor)) return undefined;
  return (
    `needs Node ${OLDEST.major}.${OLDEST.minor} or newer, this is ${version}: ` +
    "install a newer one from nodejs.org"
  );
}
