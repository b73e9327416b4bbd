/** The origins of pages (RFC 6454): browsers send them, and no script of a page can change its own. */
import { type Check, type OptionPlace, wrong } from "../options.ts";

/** Without a path: that is how browsers send it. */
const ORIGIN = /^[a-z][a-z0-9+.-]*:\/\/[^\s/?#@]+$/;

/** Accepts an array of origins. */
export const originsCheck: Check = (value, place) => checkOrigins(value, place, isOrigin);

/** As originsCheck; "*" stands for all origins. */
export const originsOrAllCheck: Check = (value, place) =>
  checkOrigins(value, place, (one) => one === "*" || isOrigin(one));

function checkOrigins(
  value: unknown,
  { of, option }: OptionPlace,
  isFine: (one: unknown) => boolean,
): void {
  const wanted = 'an origin as browsers send it ("https://app.example.com", without a path)';
  if (!Array.isArray(value)) {
    throw wrong({ of, option }, value, 'an array of origins ("https://app.example.com")');
  }
  for (const [at, one] of value.entries()) {
    if (!isFine(one)) throw wrong({ of, option: `${option}[${at}]` }, one, wanted);
  }
}

function isOrigin(value: unknown): boolean {
  if (typeof value !== "string" || !ORIGIN.test(value)) return false;
  if (!/^https?:/.test(value)) return true;
  // A browser sends no default port, and no capital letters: such an origin would never match.
  return URL.canParse(value) && new URL(value).origin === value;
}

/** What decides whether an origin is a host's own. */
export interface Host {
  /** The header `host`. */
  readonly host: string | undefined;
  /** Whether its connection has TLS. Without it a proxy may have TLS, so that pages of both schemes are its own. */
  readonly isEncrypted: boolean;
}

/** Whether a page comes from the host that it sends a request to. */
export function isOwnOrigin(origin: string, { host, isEncrypted }: Host): boolean {
  const [scheme] = /^https?:/.exec(origin) ?? [];
  if (host === undefined || scheme === undefined || (scheme === "http:" && isEncrypted))
    return false;
  const own = `${scheme}//${host}`;
  // A default port may stand in the header.
  return URL.canParse(own) && new URL(own).origin === origin;
}
