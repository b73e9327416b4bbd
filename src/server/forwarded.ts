/** Reads the addresses that proxies write into the headers of a request. */

/**
 * Returns the addresses that proxies have seen, the client's first: those of the header `forwarded` (RFC 7239), or without it
 * those of `x-forwarded-for`. What is no address ("unknown", an obfuscated name) is `undefined`.
 */
export function forwardedFor(header: Headers): (string | undefined)[] {
  const forwarded = header.get("forwarded");
  if (forwarded !== null) return elementsOf(forwarded).map(forOf);
  const listed = header.get("x-forwarded-for");
  return listed === null ? [] : listed.split(",").map((one) => hostOf(one.trim()));
}

/** Splits at commas outside of quoted strings. */
function elementsOf(value: string): string[] {
  return value.match(/(?:"(?:[^"\\]|\\.)*"|[^,"])+/g) ?? [];
}

/** The parameter `for` of an element: `for=192.0.2.1;proto=https`, `For="[2001:db8::1]:4711"`. */
function forOf(element: string): string | undefined {
  const [, quoted, plain] =
    /(?:^|;)\s*for\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))/i.exec(element) ?? [];
  return hostOf(quoted?.replace(/\\(.)/g, "$1") ?? plain ?? "");
}

/** The address without a port and brackets, if it can be one. */
function hostOf(node: string): string | undefined {
  const [, bracketed] = /^\[([0-9a-f:.]+)\](?::\d+)?$/i.exec(node) ?? [];
  if (bracketed !== undefined) return bracketed;
  const [, ip4] = /^(\d{1,3}(?:\.\d{1,3}){3})(?::\d+)?$/.exec(node) ?? [];
  if (ip4 !== undefined) return ip4;
  return /^[0-9a-f:.]*:[0-9a-f:.]*$/i.test(node) ? node : undefined;
}
