/** Receives messages for the operator of a program. `console` is one. */
export interface Logger {
  /** Reports what happens in order, for example that a server has started. Default: it is not reported. */
  info?(message: string, ...details: unknown[]): void;
  /** Reports a failure that no caller gets. */
  error(message: string, ...details: unknown[]): void;
  /** Reports what looks like a mistake; or the end of a failure that error() has reported. */
  warn(message: string, ...details: unknown[]): void;
}

/** Logs, and never throws: an error of the logger, or its rejection if it is asynchronous, does not fail a call. */
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
