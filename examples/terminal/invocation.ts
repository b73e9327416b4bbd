/** The scripts in package.json that run the command from its source. */
const SCRIPTS = ["start", "chat", "room", "hawser"];

/**
 * A command as the user would type it in the same place where this one was
 * started: by npm in the repository, by npx, or as an installed binary.
 */
export function invocation(command: "serve" | "chat" | "room", rest = ""): string {
  const { npm_lifecycle_event: script, npm_command: npm } = process.env;
  const args = rest === "" ? "" : ` ${rest}`;
  if (SCRIPTS.includes(`${script}`)) {
    const start = command === "serve" ? "npm start" : `npm run ${command}`;
    return `${start}${args === "" ? "" : ` --${args}`}`;
  }
  return `${npm === "exec" ? "npx " : ""}hawser ${command}${args}`;
}
