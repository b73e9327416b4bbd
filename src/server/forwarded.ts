/** Reads the addresses that proxies write into the headers of a request. */
import { unmapped } from "../caller.ts";

/**
 * Returns the addresses that proxies have seen, the client's first: a list for `forwarded` (RFC 7239), and one for
 * `x-forwarded-for`, if the request has them. What is no address ("unknown", an obfuscated name) is `undefined`. The time
 * that this takes is linear in the headers, whatever a client has written there.
 */
export function forwardedFor(header: Headers): (string | undefined)[][] {
  const forwarded = header.get("forwarded");
  const listed = header.get("x-forwarded-for");
  return [
    ...(forwarded === null ? [] : [splitOutsideQuotes(forwarded, ",").map(forOf)]),
    ...(listed === null ? [] : [listed.split(",").map((one) => hostOf(one.trim()))]),
  ];
}

/** The parameter `for` of an element: `for=192.0.2.1;proto=https`, `For="[2001:db8::1]:4711"`. */
function forOf(element: string): string | undefined {
  for (const parameter of splitOutsideQuotes(element, ";")) {
    const [, value] = /^\s*for\s*=(.*)$/i.exec(parameter) ?? [];
    if (value !== undefined) return hostOf(unquoted(value.trim()));
  }
  return undefined;
}

/**
 * Splits at separators outside of quoted strings. It looks for them from the end: what the last proxy has added stays apart
 * from what a client has written before it, also if that leaves a quoted string open.
 */
function splitOutsideQuotes(value: string, separator: "," | ";"): string[] {
  const parts: string[] = [];
  let end = value.length;
  let isQuoted = false;
  for (let at = end - 1; at >= 0; at--) {
    const char = value[at];
    if (char === '"' && !isEscaped(value, at)) isQuoted = !isQuoted;
    else if (char === separator && !isQuoted) {
      parts.push(value.slice(at + 1, end));
      end = at;
    }
  }
  parts.push(value.slice(0, end));
  return parts.reverse();
}

/** Whether an odd number of backslashes stands before `at`. */
function isEscaped(value: string, at: number): boolean {
  let from = at;
  while (value[from - 1] === "\\") from--;
  return (at - from) % 2 === 1;
}

function unquoted(value: string): string {
  if (!value.startsWith('"') || !value.endsWith('"')) return value;
  return value.slice(1, -1).replace(/\\(.)/g, "$1");
}

/** An address of IPv6 has up to 45 characters; brackets and a port are 8 more. */
const MOST_CHARACTERS = 53;

/** The address without a port and brackets, if it can be one. */
function hostOf(node: string): string | undefined {
  if (node.length > MOST_CHARACTERS) return undefined;
  const [, bracketed] = /^\[([0-9a-f:.]+)\](?::\d+)?$/i.exec(node) ?? [];
  if (bracketed !== undefined) return unmapped(bracketed);
  const [, ip4] = /^(\d{1,3}(?:\.\d{1,3}){3})(?::\d+)?$/.exec(node) ?? [];
  if (ip4 !== undefined) return ip4;
  return /^[0-9a-f:.]*:[0-9a-f:.]*$/i.test(node) ? unmapped(node) : undefined;
}
