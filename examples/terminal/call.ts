import type { DescService } from "@bufbuild/protobuf";
import {
  type CallOptions,
  type Client,
  type ClientTls,
  type ClosableTransport,
  Code,
  ConnectError,
  createClient,
  createTransport,
} from "hawser";
import { isUsageError, usageError } from "./command.ts";
import { aboutPem, readPem, readText } from "./input.ts";
import { Interruption } from "./interruption.ts";
import { jsonFlag, option, repeatedOption, type Values } from "./parameter.ts";
import { report, systemCode } from "./report.ts";
import { Unfinished } from "./unfinished.ts";
import { readDuration, readUrls } from "./values.ts";

const DEFAULT_URLS = ["http://127.0.0.1:50051"];

/** The options of every command that calls the server. */
export const connectionOptions = {
  url: repeatedOption(
    "<url>",
    "the server: http://, https:// or unix:; several servers, separated by commas or repeated; the client picks one",
    { read: readUrls, otherwise: DEFAULT_URLS },
  ),
  timeout: option("<duration>", "the deadline of the call (default: none)", { read: readDuration }),
  ca: option("<file>", "https: the certificate authority to trust, PEM"),
  cert: option("<file>", "https: the certificate to show to the server, PEM"),
  key: option("<file>", "https: the key of --cert, PEM"),
  token: option("<file>", "send the token in this file, which is read again when it is renewed"),
  json: jsonFlag,
};

export type ConnectionOptions = Values<typeof connectionOptions>;

/** What a command makes its calls with. */
export interface Connected {
  transport: ClosableTransport;
  /** The deadline, and a signal that aborts at Ctrl-C. */
  options: CallOptions & { signal: AbortSignal };
  interruption: Interruption;
}

/** The words of the advice that is given if a call fails. */
export interface AdviceOptions {
  /** The name of the service that the server must offer. */
  readonly service: string;
  /** How to start the server, as a sentence. Default: none. */
  readonly toStart?: string;
}

/** The client and the options with which a command calls the server. */
export interface Call<Service extends DescService> extends Omit<Connected, "transport"> {
  client: Client<Service>;
}

/** Runs `work` with a client of a service of the server at --url, as connected() does. */
export function call<Service extends DescService>(
  service: Service,
  connection: ConnectionOptions,
  work: (call: Call<Service>) => Promise<void>,
): Promise<void> {
  const advice = { service: service.name, toStart: 'Start one with "npm start"' };
  return connected(connection, advice, ({ transport, ...rest }) =>
    work({ client: createClient(service, transport), ...rest }),
  );
}

/**
 * Runs `work` with a transport to the server at --url. If `work` throws, prints one line to stderr and sets exit code 1;
 * after Ctrl-C the exit code is 130. After Ctrl-C, or if the output was closed (`| head`), prints only an Unfinished error.
 * Throws what usageError() made.
 */
export async function connected(
  connection: ConnectionOptions,
  advice: AdviceOptions,
  work: (connected: Connected) => Promise<void>,
): Promise<void> {
  const { url, timeout, json } = connection;
  const interruption = new Interruption();
  try {
    await using transport = makeTransport(url, await readTls(connection), connection);
    const options = { signal: interruption.signal, timeoutMs: timeout };
    await work({ transport, options, interruption });
  } catch (thrown) {
    if (isUsageError(thrown)) throw thrown;
    const { exitCode } = interruption;
    const unfinished = thrown instanceof Unfinished ? thrown : undefined;
    const reason = unfinished === undefined ? thrown : unfinished.cause;
    const error = exitCode === undefined ? reason : new ConnectError("interrupted", Code.Canceled);
    if (unfinished !== undefined || (exitCode === undefined && systemCode(error) !== "EPIPE")) {
      const remedies = [remedy(error, advice), unfinished?.advice];
      report(error, { json, remedy: remedies.filter(Boolean).join("; ") || undefined });
    }
    if (exitCode !== undefined) process.exitCode = exitCode;
  }
}

function makeTransport(
  baseUrl: readonly string[],
  tls: ClientTls | undefined,
  { ca, cert, key, token }: ConnectionOptions,
): ClosableTransport {
  const headers = token === undefined ? undefined : () => bearer(token);
  try {
    return createTransport({ baseUrl, tls, headers });
  } catch (error) {
    throw aboutPem(error, { ca: `--ca ${ca}`, cert: `--cert ${cert}`, key: `--key ${key}` });
  }
}

/** The header with the token in a file, as it is there now. */
async function bearer(path: string) {
  return { authorization: `Bearer ${(await readText(path)).trim()}` };
}

async function readTls({ url, ca, cert, key }: ConnectionOptions) {
  const anyPath = ca ?? cert ?? key;
  if (anyPath === undefined) return undefined;
  const plain = url.find((one) => !/^https:/i.test(one));
  if (plain !== undefined) {
    throw usageError(
      `--ca, --cert and --key are for TLS, and ${plain} has no TLS: use an https:// URL`,
    );
  }
  if ((cert === undefined) !== (key === undefined)) {
    throw usageError("--cert and --key belong together: give both");
  }
  return { ca: await readPem(ca), cert: await readPem(cert), key: await readPem(key) };
}

/** Returns advice for a failed call, as a step or a question, unless the message already has it. */
function remedy(error: unknown, { service, toStart }: AdviceOptions): string | undefined {
  if (!(error instanceof ConnectError)) return undefined;
  switch (error.code) {
    case Code.Unavailable:
      if (error.rawMessage.includes("tls.cert")) {
        return "show the server a certificate with --cert, and its key with --key";
      }
      if (error.rawMessage.includes("tls.ca")) return "trust the server's certificate with --ca";
      if (error.rawMessage.includes("its certificate is")) return undefined;
      return error.rawMessage.endsWith("?")
        ? toStart
        : ["is the server still running?", toStart].filter(Boolean).join(" ");
    case Code.Unauthenticated:
      return "give the server a token with --token";
    case Code.DeadlineExceeded:
      return "give the call longer with --timeout";
    case Code.Unimplemented:
      return `does the server at this URL offer ${service}?`;
    default:
      return undefined;
  }
}
