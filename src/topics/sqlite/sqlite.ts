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
  positiveOrInfinite,
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
   * The file. If it does not exist, it is created with its folder, readable by this process's user
   * only (0600, 0700). An existing file and existing folders keep their permissions. The -wal, -shm
   * and -lock files beside it get the permissions of the file.
   */
  readonly path: string;
  /** The limits of each topic. Default: no limits. */
  readonly retention?: Retention;
  /**
   * What the file may use of the disk at most, with all its topics. Past it, appends fail with
   * RESOURCE_EXHAUSTED until records are dropped. The file does not shrink then: its free pages are
   * used again. The -wal beside it comes on top, usually 4 MB. Default: no limit.
   */
  readonly maxBytes?: number;
  /**
   * Gets what clients must not see: which file is damaged or on a full disk, and what to do. A
   * failure is logged when it begins, at most once a minute while it lasts, and when it has ended.
   * Default: `console`.
   */
  readonly logger?: Logger;
}

const checks = {
  path: needed(text),
  retention: optionsOf(retentionChecks),
  maxBytes: positiveOrInfinite,
  logger: withFunctions("error", "warn"),
} satisfies Checks<SqliteLogOptions>;

/**
 * Opens a log in a SQLite file. It needs the package better-sqlite3, version 13 or newer.
 *
 * An append resolves when its records are on the disk (write-ahead log, fsync); appends that wait
 * at the same time share one fsync. While 100,000 records or 64 MiB wait, further appends fail
 * immediately with RESOURCE_EXHAUSTED. The log writes and reads in two separate threads. Only one
 * process at a time can open a file; when that process has ended, for any reason, another may open
 * it.
 *
 * Damage is noticed, and a damaged record is never returned: each record is checked when it is
 * read, with its position after the previous one; a file of up to 64 MiB is also checked as a whole
 * when it is opened. Two kinds of damage cannot be noticed: to the final transaction in the -wal
 * while no process had the file open, and a -wal that was cut off. Both look as if the process had
 * ended before it wrote that transaction. A cursor of a record that vanished then leads to a
 * TopicGap, for no position is used twice. The same holds for a file restored from a copy, unless a
 * process had opened it after the copy was made.
 *
 * A topic takes no memory, and a row of the file for ever, even if it keeps no records: names that
 * are used once add up there.
 *
 * Errors in addition to those of TopicLog: INVALID_ARGUMENT for an unknown option or an invalid
 * value; FAILED_PRECONDITION if Node is older than 22.14, better-sqlite3 or the worker's file is
 * missing, another process has the file open, or the file is not a log; DATA_LOSS if it is damaged.
 * Errors of opening name the file. Errors of an open log do not, because handlers pass them on to
 * clients: their `cause` names it, and so does what `logger` gets.
 */
export async function sqliteLog(options: string | SqliteLogOptions): Promise<TopicLog> {
  const withPath = typeof options === "string" ? { path: options } : options;
  checkOptions<SqliteLogOptions>("sqliteLog", withPath, checks);
  const { path, retention: kept, maxBytes, logger } = withPath as SqliteLogOptions;
  const retention = retentionLimitsOf(kept);
  checkNode();
  checkDriver();
  return await openSqliteLog({ path: preparePath(path), retention, maxBytes, logger });
}

/**
 * Throws FAILED_PRECONDITION if Node is too old. Must be called before better-sqlite3 is loaded,
 * which on an older Node would end the process with SIGSEGV.
 */
function checkNode(): void {
  const tooOld = nodeTooOld(process.versions.node);
  if (tooOld !== undefined) throw failure(Code.FailedPrecondition, `a log in SQLite ${tooOld}`);
}

function checkDriver(): void {
  try {
    createRequire(import.meta.url).resolve("better-sqlite3");
  } catch (error) {
    // Any other error, such as that of a bundle without import.meta.url, occurs again when the
    // driver is loaded.
    if ((error as NodeJS.ErrnoException).code !== "MODULE_NOT_FOUND") return;
    throw failure(
      Code.FailedPrecondition,
      "a log in SQLite needs the package better-sqlite3: npm install better-sqlite3",
      error,
    );
  }
}

/** Creates the file and its lock file. Returns the file's real path, so that all links to a file lead to one lock. */
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

/** Creates the file if it does not exist. Returns its real path. */
function makeFile(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    // A link may lead to a file that does not exist yet: its real path is known only when it
    // exists. SQLite copies the permissions of this file to the -wal and -shm.
    closeSync(openSync(path, "a", 0o600));
    return realpathSync(path);
  }
}

/**
 * Creates the lock file with the permissions of the log, if it does not exist: SQLite would create
 * one that every user can read. An existing lock file is not opened: POSIX drops the locks of a
 * process when it closes any descriptor of the file, and another log of this process may have one.
 */
function makeLockFile(path: string): void {
  try {
    closeSync(openSync(`${path}-lock`, "wx", statSync(path).mode & 0o666));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}

/** Creates a folder and its parents. Node's own recursive mkdir never ends in /proc. */
function makeFolder(folder: string): void {
  if (existsSync(folder)) return;
  const parent = dirname(folder);
  if (parent !== folder) makeFolder(parent);
  try {
    mkdirSync(folder, 0o700);
  } catch (error) {
    // Another process created the folder meanwhile. If the path is a file, the next step fails
    // because of that.
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}
