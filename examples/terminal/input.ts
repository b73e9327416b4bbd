import { createReadStream, fstatSync, open } from "node:fs";
import { readFile } from "node:fs/promises";
import { Socket } from "node:net";
import { addAbortSignal, type Readable } from "node:stream";
import { promisify } from "node:util";
import { Code, ConnectError } from "hawser";
import { systemCode } from "./report.ts";

/** The longest line that is read, in characters: the default of writeMaxBytes. */
const LONGEST_LINE = 4 * 1024 * 1024;

/** A text that is read line by line. */
export interface Input {
  /** The name that the user knows: a path, or `standard input`. */
  readonly name: string;
  readonly stream: Readable;
  /** The size in bytes, if it is known before the text is read. */
  readonly bytes?: number | undefined;
}

/** Opens a file, or standard input for `-`. Throws NOT_FOUND or another code, with the remedy. */
export async function openInput(path: string): Promise<Input> {
  if (path === "-") {
    return { name: "standard input", stream: process.stdin, bytes: sizeOf(process.stdin.fd) };
  }
  try {
    const fd = await promisify(open)(path, "r");
    // A read of a file cannot be cancelled while a pipe has no data; a read of a socket can.
    const piped = fstatSync(fd).isFIFO();
    const stream = piped ? new Socket({ fd, readable: true }) : createReadStream("", { fd });
    return { name: path, stream, bytes: sizeOf(fd) };
  } catch (error) {
    throw unreadable(path, error);
  }
}

function sizeOf(fd: number): number | undefined {
  const stat = fstatSync(fd);
  return stat.isFile() ? stat.size : undefined;
}

/** Returns the text of a PEM file, or `undefined` if no file is named. */
export async function readPem(path: string | undefined): Promise<string | undefined> {
  return path === undefined ? undefined : await readText(path);
}

/** Returns the text of a file. Throws NOT_FOUND or another code, with the remedy. */
export async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** Returns the error of a PEM file with the flag and the file in place of the option `tls`. */
export function aboutPem(error: unknown, flags: Record<string, string | undefined>): unknown {
  if (!(error instanceof ConnectError) || !/^(?:create\w+|setTls): tls\./.test(error.rawMessage))
    return error;
  const what = error.rawMessage.replace(/^\w+: /, "").replace("; is it a path?", "");
  const message = what.replace(/tls\.(ca|cert|key)\b/g, (_, name: string) => flags[name] ?? name);
  return new ConnectError(message, error.code, undefined, undefined, error);
}

/** Returns the error of a file that cannot be read, with the remedy. */
function unreadable(path: string, error: unknown): ConnectError {
  switch (systemCode(error)) {
    case "ENOENT":
      return new ConnectError(`no such file: ${path}: check the path`, Code.NotFound);
    case "EACCES":
      return new ConnectError(
        `no permission to read ${path}: check its mode`,
        Code.PermissionDenied,
      );
    case "EISDIR":
      return new ConnectError(
        `${path} is a directory: give the path of a file`,
        Code.InvalidArgument,
      );
    default:
      return new ConnectError(
        `cannot read ${path} (${systemCode(error) ?? error}): check the path`,
        Code.Unknown,
      );
  }
}

/**
 * Reads the lines of a UTF-8 text, without LF or CRLF. The text after the last line end is a line unless it is empty.
 * Ends early, without an error, when `signal` aborts.
 */
export async function* lines({ name, stream }: Input, signal: AbortSignal): AsyncGenerator<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let number = 1;
  let rest = "";
  try {
    for await (const chunk of addAbortSignal(signal, stream)) {
      let from = 0;
      let searchFrom = rest.length;
      rest += decoder.decode(chunk, { stream: true });
      for (;;) {
        const end = rest.indexOf("\n", searchFrom);
        if (end < 0) break;
        yield withoutReturn(rest.slice(from, end));
        number++;
        from = searchFrom = end + 1;
      }
      rest = rest.slice(from);
      if (rest.length > LONGEST_LINE) throw tooLong(name, number);
    }
    rest += decoder.decode();
    if (rest !== "") yield withoutReturn(rest);
  } catch (error) {
    if (signal.aborted) return;
    if (error instanceof ConnectError) throw error;
    if (systemCode(error) === "ERR_ENCODING_INVALID_ENCODED_DATA") throw notUtf8(name, number);
    throw unreadable(name, error);
  }
}

function withoutReturn(line: string): string {
  return line.endsWith("\r") ? line.slice(0, -1) : line;
}

function tooLong(name: string, line: number): ConnectError {
  return new ConnectError(
    `line ${line} of ${name} is over ${LONGEST_LINE} characters: a line is a message, make it shorter`,
    Code.ResourceExhausted,
  );
}

function notUtf8(name: string, line: number): ConnectError {
  return new ConnectError(
    `${name} is not UTF-8 at line ${line} or soon after: convert it, for example with iconv`,
    Code.InvalidArgument,
  );
}
