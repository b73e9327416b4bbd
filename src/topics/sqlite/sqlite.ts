/** The SQLite entry of Hawser: `import { sqliteLog } from "hawser/topics/sqlite"`. */
import { closeSync, existsSync, mkdirSync, openSync, realpathSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, resolve } from "node:path";
import { Code } from "@connectrpc/connect";
import { failure } from "../../failure.ts";
import { nodeTooOld } from "../../node-version.ts";
import type { Logger } from "../../observe/logger.ts";
import {
  type Checks,
  checkOptions,
  needed,
  optionsOf,
  text,
  withFunctions,
} from "../../options.ts";
import type { Retention, TopicLog } from "../log.ts";
import { toOperator } from "../log-failure.ts";
import { retentionChecks, retentionLimitsOf } from "../retention.ts";
import { openSqliteLog } from "./log.ts";
import { failureOf } from "./message.ts";
import { toError } from "./thread.ts";

export interface SqliteLogOptions {
  /**
   * The file; it is made, with its folder, where there is none: for the user of
   * this process alone (0600, 0700). A file and folders that exist keep their rights.
   * Beside the file are its -wal, -shm and -lock, with the rights of the file.
   */
  readonly path: string;
  /** What each topic keeps. Default: everything. */
  readonly retention?: Retention;
  /**
   * Gets what the clients of a server must not read: which file is damaged or on a
   * full disk, and the remedy; when that begins, at most once a minute while it
   * lasts, and when it has ended. Default: `console`.
   */
  readonly logger?: Logger;
}

const checks = {
  path: needed(text),
  retention: optionsOf(retentionChecks),
  logger: withFunctions("error", "warn"),
} satisfies Checks<SqliteLogOptions>;

/**
 * Opens a log in a SQLite file. It needs the package better-sqlite3, version 13
 * or newer.
 *
 * An append resolves when its records are on the disk (write-ahead log, fsync);
 * appends that wait at the same time share one fsync. While 100,000 records or
 * 64 MiB wait, further appends are RESOURCE_EXHAUSTED at once. The log writes and
 * reads in two threads of its own. A file belongs to one process at a time; when
 * that process has ended, by whatever cause, the next may open the file.
 *
 * Damage is noticed, and a damaged record is never given: each record is checked
 * when it is read, with its position after the one before it; a file of up to
 * 64 MiB is also checked as a whole when it is opened. Damage to the last
 * transaction in the -wal while no process had the file, or a -wal that was cut
 * off, cannot be noticed: it looks as if the process had ended before it wrote
 * that. Then a cursor of a record that vanished gives a TopicGap, for no position
 * is given twice; the same holds for a file restored from a copy, unless a
 * process had opened it after the copy was made.
 *
 * A topic takes about 1 KB of memory while the log is open, and a row of the file
 * for ever, also when none of its records is kept: names that are used once add up.
 *
 * Errors beside those of TopicLog: INVALID_ARGUMENT for an option that is unknown
 * or not what it must be; FAILED_PRECONDITION where Node is older than
 * 22.14, better-sqlite3 or the worker's file is missing, another process has the
 * file, or the file is something else; DATA_LOSS where it is damaged. They name
 * the file. The errors of an open log do not, for handlers pass them on to
 * clients: their `cause` does, and what `logger` gets.
 */
export async function sqliteLog(options: string | SqliteLogOptions): Promise<TopicLog> {
  const given = typeof options === "string" ? { path: options } : options;
  checkOptions<SqliteLogOptions>("sqliteLog", given, checks);
  const { path, retention: kept, logger } = given as SqliteLogOptions;
  const retention = retentionLimitsOf(kept);
  checkNode();
  checkDriver();
  return await openSqliteLog({ path: preparePath(path), retention, logger });
}

/** Before better-sqlite3 is loaded: on an older Node it would end the process with SIGSEGV. */
function checkNode(): void {
  const tooOld = nodeTooOld(process.versions.node);
  if (tooOld !== undefined) throw failure(Code.FailedPrecondition, `a log in SQLite ${tooOld}`);
}

function checkDriver(): void {
  try {
    createRequire(import.meta.url).resolve("better-sqlite3");
  } catch (error) {
    // Any other error, such as that of a bundle without import.meta.url, comes again when the driver is loaded.
    if ((error as NodeJS.ErrnoException).code !== "MODULE_NOT_FOUND") return;
    throw failure(
      Code.FailedPrecondition,
      "a log in SQLite needs the package better-sqlite3: npm install better-sqlite3",
      error,
    );
  }
}

/** Makes the file and its lock file; returns the file's real path, so that all links to a file lead to one lock. */
function preparePath(path: string): string {
  if (path === "" || path === ":memory:") {
    throw failure(Code.InvalidArgument, "the path is no file: for a log in memory use memoryLog()");
  }
  const absolute = resolve(path);
  try {
    makeFolder(dirname(absolute));
    const real = makeFile(absolute);
    makeLockFile(real);
    return real;
  } catch (error) {
    throw toOperator(toError(failureOf(error, absolute)));
  }
}

/** Makes the file where there is none; returns its real path. */
function makeFile(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    // A link may lead to a file that does not exist yet: its real path is known once it does.
    // SQLite gives the -wal and -shm the rights of this file.
    closeSync(openSync(path, "a", 0o600));
    return realpathSync(path);
  }
}

/**
 * Makes the lock file with the rights of the log, where there is none: SQLite
 * would make one that every user can read. A lock file that exists is not opened:
 * POSIX drops the locks of a process when it closes any descriptor of the file,
 * and another log of this process may have one.
 */
function makeLockFile(path: string): void {
  try {
    closeSync(openSync(`${path}-lock`, "wx", statSync(path).mode & 0o666));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}

/** Makes a folder, and its parents. Node's own recursive mkdir never ends in /proc. */
function makeFolder(folder: string): void {
  if (existsSync(folder)) return;
  const parent = dirname(folder);
  if (parent !== folder) makeFolder(parent);
  try {
    mkdirSync(folder, 0o700);
  } catch (error) {
    // Another process has made it meanwhile; where it is a file, the next step fails with that.
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}
