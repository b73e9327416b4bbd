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
import { keptOf, retentionChecks } from "../retention.ts";
import { openSqliteLog } from "./log.ts";
import { failureOf } from "./message.ts";
import { toError } from "./thread.ts";

export interface SqliteLogOptions {
  /**
   * The file; it is made, with its folder, where there is none: for the user of
   * this process alone (0600, 0700). Those that are there keep their rights.
   * Beside the file lie its -wal, -shm and -lock, with the rights of the file.
   */
  readonly path: string;
  /** What each topic keeps. Default: everything. */
  readonly retention?: Retention;
  /**
   * Told what the clients of a server must not read: which file is full or
   * damaged, and the remedy; once when it begins, at most once a minute while it
   * lasts, once when it is over. Default: `console`.
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
 * appends that wait at the same time share one. While 100,000 records or 64 MiB
 * wait, those that come are RESOURCE_EXHAUSTED at once. It writes and reads in
 * two threads of its own. A file belongs to one process at a time; when that is
 * gone, however it went, the next may open it.
 *
 * What is damaged is noticed, and never given out: each record is checked when
 * it is read, with its place behind the one before it; a file of up to 64 MiB
 * is also looked through when it is opened. What cannot be noticed: a last
 * transaction in the -wal that was damaged while no process had the file, or a
 * -wal that was cut off, looks as if the process had died before it was
 * written. Then a cursor of a record that vanished gives a TopicGap, for positions
 * are never given twice; the same holds for a file restored from a copy, as
 * long as no process had opened it since the copy was made.
 *
 * A topic takes about 1 KB of memory, and a row, for as long as there is the
 * file, also when none of its records is kept: names that are used once and
 * never again add up.
 *
 * Errors beside those of TopicLog: INVALID_ARGUMENT for an option that is unknown
 * or not what it must be; FAILED_PRECONDITION where Node is older than
 * 22.14, better-sqlite3 or the worker's file is missing, another process has the
 * file, or the file is something else; DATA_LOSS where it is damaged. They name
 * the file. The errors of an open log do not, for handlers pass them on to
 * clients: their `cause` does, and `logger` is told.
 */
export async function sqliteLog(options: string | SqliteLogOptions): Promise<TopicLog> {
  const given = typeof options === "string" ? { path: options } : options;
  checkOptions<SqliteLogOptions>("sqliteLog", given, checks);
  const { path, retention, logger } = given as SqliteLogOptions;
  const kept = keptOf(retention);
  checkNode();
  checkDriver();
  return await openSqliteLog({ path: settle(path), kept, logger });
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
    // Anything else, such as a bundle without import.meta.url, is told by what loads it.
    if ((error as NodeJS.ErrnoException).code !== "MODULE_NOT_FOUND") return;
    throw failure(
      Code.FailedPrecondition,
      "a log in SQLite needs the package better-sqlite3: npm install better-sqlite3",
      error,
    );
  }
}

/** One name for one file, by whatever name it was given: the lock lies beside it. */
function settle(path: string): string {
  if (path === "" || path === ":memory:") {
    throw failure(Code.InvalidArgument, "the path is no file: for a log in memory use memoryLog()");
  }
  const absolute = resolve(path);
  try {
    makeFolder(dirname(absolute));
    const settled = makeFile(absolute);
    makeLockFile(settled);
    return settled;
  } catch (error) {
    throw toOperator(toError(failureOf(error, absolute)));
  }
}

/** Makes the file where there is none; gives its own name. */
function makeFile(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    // A link may lead to where nothing is yet: the lock must lie there from the first.
    // SQLite gives the -wal and -shm the rights of this file.
    closeSync(openSync(path, "a", 0o600));
    return realpathSync(path);
  }
}

/**
 * Makes the file that is locked with the rights of the log, where there is none:
 * SQLite would let everybody read it. One that is there is not opened: at the
 * close POSIX would take the lock from another log of this process.
 */
function makeLockFile(path: string): void {
  try {
    closeSync(openSync(`${path}-lock`, "wx", statSync(path).mode & 0o666));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}

/** Makes a folder, and those that it lies in. Node's own recursive mkdir never ends in /proc. */
function makeFolder(folder: string): void {
  if (existsSync(folder)) return;
  const parent = dirname(folder);
  if (parent !== folder) makeFolder(parent);
  try {
    mkdirSync(folder, 0o700);
  } catch (error) {
    // Another process has made it meanwhile; where it is a file, what comes next says so.
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}
