/**
 * Why a work of many parts stopped in the middle (its `cause`), and how to continue
 * without doing a part twice. It is always reported: also after Ctrl-C, and
 * where the output is no longer read.
 */
export class Unfinished extends Error {
  readonly advice: string;

  constructor(cause: unknown, advice: string) {
    super("stopped in the middle", { cause });
    this.advice = advice;
  }
}
