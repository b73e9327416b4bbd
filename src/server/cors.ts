/** Cross-origin resource sharing (the Fetch standard, 3.2): which pages of other hosts may make calls, and read the answers. */
import { type Check, needed, optionsOf, trueOrFalse, wrong } from "../options.ts";
import { originsOrAllCheck } from "./origins.ts";

/** Pages of other hosts that may make calls over Connect and gRPC-Web. */
export interface CorsOptions {
  /** Their origins, such as "https://app.example.com"; `["*"]`: all pages, without credentials. */
  origins: string[];
  /** Whether calls may have cookies, and other credentials that browsers add by themselves. Default: false. */
  credentials?: boolean;
}

const checks = optionsOf<CorsOptions>({
  origins: needed(originsOrAllCheck),
  credentials: trueOrFalse,
});

/** Accepts the option `cors`. */
export const corsCheck: Check = (value, place) => {
  checks(value, place);
  const { origins, credentials } = value as CorsOptions;
  if (credentials !== true || !origins.includes("*")) return;
  const option = { of: place.of, option: `${place.option}.origins` };
  throw wrong(
    option,
    "*",
    "with credentials a list of origins, since any page could act as a user,",
  );
};

/** What the handlers of a method take. */
const METHODS = ["GET", "POST"];

/** How long a browser may remember the answer to a preflight, in seconds. Chromium's own limit. */
const MAX_AGE_S = 7200;

/** The status of gRPC-Web, if it is in the headers. What else a response has, it names itself. */
const STATUS_HEADERS = ["grpc-status", "grpc-message", "grpc-status-details-bin"];

/** Names of headers, as a preflight lists them. */
const NAMES = /^[\w!#$%&'*+.^`|~, -]*$/;

/** The answer to a preflight. */
export interface PreflightAnswer {
  readonly status: number;
  readonly header: Headers;
  /** Why it was refused, for the tools of developers. */
  readonly text: string;
}

/** Decides what pages of other hosts may do. */
export class Cors {
  readonly #origins: ReadonlySet<string>;
  readonly #hasCredentials: boolean;

  constructor({ origins, credentials = false }: CorsOptions) {
    this.#origins = new Set(origins);
    this.#hasCredentials = credentials;
  }

  /** Returns the answer to a preflight; `undefined` if the request is no preflight. */
  preflight(method: string, request: Headers): PreflightAnswer | undefined {
    const wanted = request.get("access-control-request-method");
    if (method !== "OPTIONS" || wanted === null || !request.has("origin")) return undefined;
    const header = new Headers({
      vary: "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    });
    const names = request.get("access-control-request-headers") ?? "";
    if (!this.#allowOrigin(request, header)) {
      return { status: 403, header, text: "the origin of this page is not in cors.origins\n" };
    }
    if (!METHODS.includes(wanted) || !NAMES.test(names)) {
      return { status: 403, header, text: `calls are made by ${METHODS.join(" or ")}\n` };
    }
    header.set("access-control-allow-methods", METHODS.join(", "));
    // The metadata of calls is the application's.
    if (names !== "") header.set("access-control-allow-headers", names);
    header.set("access-control-max-age", String(MAX_AGE_S));
    return { status: 204, header, text: "" };
  }

  /** Returns the headers of a response with those that let the page read it, if it may. */
  withHeaders(request: Headers, response: Headers): Headers {
    const header = new Headers(response);
    header.append("vary", "Origin");
    if (!this.#allowOrigin(request, header)) return header;
    const names = [...response.keys()].filter((name) => name !== "set-cookie");
    const exposed = new Set([...STATUS_HEADERS, ...names]);
    header.set("access-control-expose-headers", [...exposed].join(", "));
    return header;
  }

  #allowOrigin(request: Headers, response: Headers): boolean {
    const origin = request.get("origin");
    if (origin === null) return false;
    if (!this.#origins.has(origin) && !this.#origins.has("*")) return false;
    response.set("access-control-allow-origin", origin);
    if (this.#hasCredentials) response.set("access-control-allow-credentials", "true");
    return true;
  }
}
