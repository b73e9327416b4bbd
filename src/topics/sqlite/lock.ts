import Database from "better-sqlite3";
import { isBusy, precondition } from "./message.ts";

/**
 * Locks a log for this process, until the lock is disposed of or the process ends. The lock is
 * SQLite's own lock of a second file, because the log's own file has a writer and a reader.
 */
export function lock(path: string): Disposable {
  const connection = new Database(`${path}-lock`, { timeout: 0 });
  try {
    connection.pragma("locking_mode = EXCLUSIVE");
    connection.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    connection.close();
    if (!isBusy(error)) throw error;
    throw precondition(
      `${path} is open in another server: a file belongs to one at a time; end that one, or give each its own`,
    );
  }
  return { [Symbol.dispose]: () => void connection.close() };
}
