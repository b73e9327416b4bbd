/** Takes messages to the owner of a program. `console` is one. */
export interface Logger {
  /** Something failed, and no caller is told of it. */
  error(message: string, ...details: unknown[]): void;
  /** Something looks like a mistake; or a failure that error() told of has ended. */
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
    // A failure of the logger cannot be logged.
  }
}
