/**
 * A command as the user would type it in the same place where this one was
 * started: by npm in the repository, by npx, or as an installed binary.
 */
export function invocation(command: "serve" | "chat" | "room", rest = ""): string {
  const { npm_lifecycle_event: script, npm_command: npm } = process.env;
  const args = rest === "" ? "" : ` ${rest}`;
  if (script === "start" || script === "chat") {
    // No script of npm's is for rooms.
    if (command === "room") return `npx hawser room${args}`;
    return `${command === "serve" ? "npm start" : "npm run chat"}${args === "" ? "" : ` --${args}`}`;
  }
  return `${npm === "exec" ? "npx " : ""}hawser ${command}${args}`;
}
