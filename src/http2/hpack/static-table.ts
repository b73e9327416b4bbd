/** The static table (RFC 7541, appendix A): each name, then its values. The index of the first entry is 1. */
const ENTRIES = `
:authority
:method=GET,POST
:path=/,/index.html
:scheme=http,https
:status=200,204,206,304,400,404,500
accept-charset
accept-encoding=gzip, deflate
accept-language
accept-ranges
accept
access-control-allow-origin
age
allow
authorization
cache-control
content-disposition
content-encoding
content-language
content-length
content-location
content-range
content-type
cookie
date
etag
expect
expires
from
host
if-match
if-modified-since
if-none-match
if-range
if-unmodified-since
last-modified
link
location
max-forwards
proxy-authenticate
proxy-authorization
range
referer
refresh
retry-after
server
set-cookie
strict-transport-security
transfer-encoding
user-agent
vary
via
www-authenticate
`;

/** A name of the static table. */
export interface StaticName {
  /** The lowest index that has the name. */
  readonly index: number;
  /** From each value that the table has for the name to its index. */
  readonly values: ReadonlyMap<string, number>;
}

const names = [""];
const values = [""];
const byName = new Map<string, StaticName>();

for (const line of ENTRIES.trim().split("\n")) {
  const [name, listed = ""] = line.split("=") as [string, string?];
  const ofName = new Map<string, number>();
  byName.set(name, { index: names.length, values: ofName });
  // The comma in "gzip, deflate" is part of the value.
  for (const value of listed.split(/,(?! )/)) {
    ofName.set(value, names.length);
    names.push(name);
    values.push(value);
  }
}

/** The name at each index; there is no index 0. */
export const STATIC_NAMES: readonly string[] = names;

/** The value at each index. */
export const STATIC_VALUES: readonly string[] = values;

/** How many entries the static table has: the index of the newest entry of the dynamic table is one more. */
export const STATIC_COUNT = names.length - 1;

export const STATIC_BY_NAME: ReadonlyMap<string, StaticName> = byName;
