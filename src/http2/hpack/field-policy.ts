/** Which fields the encoder may put into the dynamic table. */

/**
 * - `usual`: values that repeat
 * - `changing`: values that differ from call to call, and would only push others out of the table
 * - `secret`: credentials, see isGuessable()
 */
export type FieldKind = "usual" | "changing" | "secret";

const CHANGING = new Set([
  ...["grpc-timeout", "grpc-message", "grpc-status-details-bin", "content-length"],
  ...["age", "date", "etag", "if-modified-since", "if-none-match", "last-modified"],
]);

/** HTTP's fields for credentials and cookies, and what others call theirs: x-auth-token, x-api-key, password ... */
const SECRET =
  /(?:^|-)(?:authorization|auth|cookie|token|secret|password|credentials?|api-?key)(?:-|$)/;

/** The shortest secret that may be in the table. */
const LONG_SECRET = 32;

export function kindOf(name: string): FieldKind {
  if (SECRET.test(name)) return "secret";
  return CHANGING.has(name) ? "changing" : "usual";
}

/**
 * Whether the value of a secret might be guessed. An attacker who adds fields to other calls of the connection, as the
 * client of a proxy does, and sees how long the blocks are, can test whether a whole value is in the table (RFC 7541,
 * 7.1). So such a value never enters a table, and is marked so that proxies do not put it into theirs (7.1.3). A token of 32 characters
 * cannot be guessed: it costs one octet when it comes again. The password of HTTP's Basic can, however long the user's
 * name is.
 */
export function isGuessable(value: string): boolean {
  return value.length < LONG_SECRET || /^basic /i.test(value);
}
