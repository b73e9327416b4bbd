/**
 * Why a work of many parts stopped in the middle (its `cause`), and how to go on
 * without doing a part twice. It is told in any case: also after Ctrl-C, and
 * where nobody reads the output.
 */
export class Unfinished extends Error {
  readonly advice: string;

  constructor(cause: unknown, advice: string) {
    super("stopped in the middle", { cause });
    this.advice = advice;
  }
}
