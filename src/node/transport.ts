import { Code, type ConnectError } from "@connectrpc/connect";
import { parseTargets } from "../connection/address.ts";
import { failure } from "../failure.ts";
import { checkOptions } from "../options.ts";
import { makeTransport } from "../transport/make-transport.ts";
import type { ClosableTransport } from "../transport/transport-options.ts";
import { connectBy } from "./connect.ts";
import { nodeGzip } from "./gzip.ts";
import { outputBuffers } from "./output-buffers.ts";
import { clientTls } from "./tls.ts";
import { type TransportOptions, transportChecks } from "./transport-options.ts";

const HERE = "createTransport";

/**
 * Makes a transport: the connections to one server, or to several that can stand in for each other, and the options of
 * calls there. Nothing is connected before the first call. Throws INVALID_ARGUMENT, which names the option and its
 * value, if an option is unknown or not valid.
 */
export function createTransport(options: TransportOptions): ClosableTransport {
  checkOptions(HERE, options, transportChecks);
  const targets = parseTargets(options.baseUrl);
  if (options.tls !== undefined && !targets[0].tls) throw tlsWithoutHttps(options.baseUrl);
  const tls = clientTls(HERE, options.tls);
  return makeTransport(options, {
    targets,
    pathPrefix: targets[0].pathPrefix,
    compression: nodeGzip,
    buffers: outputBuffers,
    connectBy: (connectOptions) => connectBy({ ...connectOptions, tls }),
  });
}

/** Makes the error of TLS options with a cleartext address. Such calls would otherwise be cleartext unnoticed. */
function tlsWithoutHttps(baseUrl: TransportOptions["baseUrl"]): ConnectError {
  const [first] = [baseUrl].flat();
  return failure(
    Code.InvalidArgument,
    `${HERE}: tls is for https://, and baseUrl ${JSON.stringify(first)} has no TLS: use https://, or leave tls out`,
  );
}
