/**
 * The error of a command with many steps that stopped in the middle. `cause` is the reason, `advice` how to continue
 * without repeating a step. The error is always reported: also after Ctrl-C, and if the output is no longer read.
 */
export class Unfinished extends Error {
  readonly advice: string;

  constructor(cause: unknown, advice: string) {
    super("stopped in the middle", { cause });
    this.advice = advice;
  }
}
