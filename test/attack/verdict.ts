/** Prints a line for each thing that was tried, and remembers whether all was well. */
let failures = 0;

export function verdict(isWell: boolean, what: string): void {
  if (!isWell) failures++;
  console.log(`${isWell ? "ok  " : "FAIL"} ${what}`);
}

export function allIsWell(): boolean {
  return failures === 0;
}
