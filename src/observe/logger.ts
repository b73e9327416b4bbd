/** Where messages to the owner of a program go. `console` is one. */
export interface Logger {
  /** Something failed that nobody else is told of. */
  error(message: string, ...details: unknown[]): void;
  /** Something looks like a mistake; or what an error told of is over. */
  warn(message: string, ...details: unknown[]): void;
}

/** Logs, and never throws: what a logger throws, or rejects with where it is asynchronous, is no failure of a call. */
export function log(
  logger: Partial<Logger>,
  level: keyof Logger,
  ...[message, ...details]: Parameters<Logger["error"]>
): void {
  try {
    const logged: unknown = logger[level]?.(message, ...details);
    if (logged instanceof Promise) logged.catch(() => {});
  } catch {
    // There is nobody left to tell.
  }
}
