/** Names this program: `chat`, `room`, `server`. The name is its title in the list of processes too. */
export function nameProgram(name: string): void {
  process.title = name;
}

/** A line for stderr that begins with the name of the program: `room: resumed`. */
export function programLine(text: string): string {
  return `${process.title}: ${text}`;
}
