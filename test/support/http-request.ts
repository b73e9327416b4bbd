import { once } from "node:events";
import * as http from "node:http";
import * as http2 from "node:http2";

/** The versions of HTTP that a server speaks. */
export const versions = ["HTTP/1.1", "HTTP/2"] as const;

export type Version = (typeof versions)[number];

export interface HttpRequest {
  readonly url: string;
  readonly path: string;
  /** Default: "GET". */
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string | Uint8Array;
}

export interface HttpResponse {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Buffer;
}

/** Makes a request, by Node's clients, on a connection of its own. Rejects if the connection is lost, or the stream is reset. */
export function ask(version: Version, request: HttpRequest): Promise<HttpResponse> {
  return version === "HTTP/2" ? askHttp2(request) : askHttp1(request);
}

async function askHttp1({
  url,
  path,
  method = "GET",
  headers = {},
  body,
}: HttpRequest): Promise<HttpResponse> {
  const request = http.request(`${url}${path}`, { method, headers, agent: false });
  request.end(body);
  const [response] = (await once(request, "response")) as [http.IncomingMessage];
  return {
    status: response.statusCode as number,
    headers: toHeaders(response.headers),
    body: await bodyOf(response),
  };
}

async function askHttp2({
  url,
  path,
  method = "GET",
  headers = {},
  body,
}: HttpRequest): Promise<HttpResponse> {
  // A body of more than 10 MB would be over its default.
  const session = http2.connect(url, { maxSessionMemory: 100 });
  session.on("error", () => {});
  try {
    const endStream = body === undefined;
    const stream = session.request({ ":method": method, ":path": path, ...headers }, { endStream });
    if (!endStream) stream.end(body);
    const [response] = (await once(stream, "response")) as [http2.IncomingHttpHeaders];
    const received = await bodyOf(stream);
    return { status: Number(response[":status"]), headers: toHeaders(response), body: received };
  } finally {
    session.destroy();
  }
}

async function bodyOf(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function toHeaders(received: http.IncomingHttpHeaders): Headers {
  const headers = new Headers();
  for (const [name, value = ""] of Object.entries(received)) {
    if (name.startsWith(":")) continue;
    for (const one of [value].flat()) headers.append(name, one);
  }
  return headers;
}
