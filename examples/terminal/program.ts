/** Sets the name of this program (`chat`, `room`, `server`), which is also its title in the list of processes. */
export function nameProgram(name: string): void {
  process.title = name;
}

/** Returns a line for stderr that begins with the name of the program: `room: resumed`. */
export function programLine(text: string): string {
  return `${process.title}: ${text}`;
}
