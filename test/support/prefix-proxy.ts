import { once } from "node:events";
import * as http2 from "node:http2";

/** A proxy that serves one server below a path, as a gateway does; what does not begin with the path gets HTTP 404. */
export interface PrefixProxy extends AsyncDisposable {
  /** `http://127.0.0.1:port`, without the path. */
  readonly origin: string;
  /** The path of each request, unchanged. */
  readonly paths: string[];
  /** Ends every connection to the proxy now. */
  cut(): void;
}

/** @param prefix the path that is taken off: "/api" */
export async function openPrefixProxy(url: string, prefix: string): Promise<PrefixProxy> {
  const paths: string[] = [];
  const sessions = new Set<http2.ServerHttp2Session>();
  const upstream = http2.connect(url);
  const server = http2.createServer();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("error", () => {});
    session.on("close", () => sessions.delete(session));
  });
  server.on("stream", (stream, headers) => {
    const path = String(headers[":path"]);
    paths.push(path);
    stream.on("error", () => {});
    if (!path.startsWith(`${prefix}/`)) {
      stream.respond({ ":status": 404 }, { endStream: true });
      return;
    }
    pass(stream, upstream.request({ ...headers, ":path": path.slice(prefix.length) }));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  const cut = () => {
    for (const session of sessions) session.destroy();
  };
  return {
    origin: `http://127.0.0.1:${port}`,
    paths,
    cut,
    async [Symbol.asyncDispose]() {
      cut();
      upstream.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

/** Passes a stream on, both ways, with its trailers and its resets. */
function pass(near: http2.ServerHttp2Stream, far: http2.ClientHttp2Stream): void {
  let trailers: http2.IncomingHttpHeaders = {};
  far.on("error", () => {});
  far.on("response", (headers, flags) => {
    if (near.destroyed) return;
    const endStream = (flags & http2.constants.NGHTTP2_FLAG_END_STREAM) !== 0;
    near.respond(headers, { waitForTrailers: !endStream, endStream });
    far.pipe(near);
  });
  far.on("trailers", (came) => {
    trailers = came;
  });
  near.on("wantTrailers", () => near.sendTrailers(trailers));
  near.pipe(far);
  near.on("close", () => far.close(near.rstCode));
  far.on("close", () => far.rstCode !== 0 && near.close(far.rstCode));
}
