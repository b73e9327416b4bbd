import { type Checks, optionsOf } from "../options.ts";
import { type CommonTransportOptions, commonChecks } from "../transport/transport-options.ts";
import { type ClientTls, clientTlsChecks } from "./tls.ts";

export interface TransportOptions extends CommonTransportOptions {
  /**
   * `http://host:port`, `https://host:port`, or `unix:/path`. Several, in order, are servers that can stand in for each
   * other: if one cannot be reached, or drains, calls use the next. All have TLS, or none. A path, as in
   * `http://host/api`, stands before the path of every request.
   */
  baseUrl: string | readonly string[];
  /** TLS for `https://`. With any other baseUrl it is refused with INVALID_ARGUMENT. */
  tls?: ClientTls;
}

/** The checks of createTransport(). */
export const transportChecks = {
  ...commonChecks,
  tls: optionsOf(clientTlsChecks),
} satisfies Checks<TransportOptions>;
